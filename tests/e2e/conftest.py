"""The stack that users run, shared by all tests of this tier that leave it as they found it."""

import contextlib
import os
from collections.abc import Iterator

import grpc
import pytest
from playwright.sync_api import Browser

from tests.support.access import AUDIENCE, ISSUER, write_jwks
from tests.support.browser import EXTENSION_ORIGIN, Chromium, Pages, find_chromium
from tests.support.http import Http
from tests.support.in_process import Client
from tests.support.postgres import make_passable
from tests.support.stack import Stack, running
from tests.support.template import Template
from tests.support.traces import Receiver, receiving


@pytest.fixture(scope="session")
def pages() -> Iterator[Pages]:
    """Run a web server whose pages the stack lets in."""
    with contextlib.closing(Pages()) as server:
        yield server


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """Return what stacks may copy their databases from."""
    directory = tmp_path_factory.getbasetemp()
    return Template((directory.parent if "PYTEST_XDIST_WORKER" in os.environ else directory) / "template")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, pages: Pages) -> Iterator[Stack]:
    """Run PostgreSQL, the server and Envoy on free ports."""
    origins = f"{pages.origin}, {EXTENSION_ORIGIN}"
    with running(tmp_path_factory.mktemp("stack"), CORS_ORIGINS=origins, ACCESS_LOG="0.5") as started:
        yield started.wait_until_up()


@pytest.fixture(scope="session")
def http(stack: Stack) -> Http:
    """Return a JSON client, through Envoy."""
    return Http(stack.http_port)


@pytest.fixture(scope="session", params=["directly", "through Envoy"])
def client(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Yield a gRPC client of the server, and one through Envoy."""
    port = stack.grpc_port if request.param == "directly" else stack.http_port
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(channel)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Yield the browser of this machine. Its driver occupies the event loop of this thread as long as it runs."""
    with find_chromium() as found:
        yield found


@pytest.fixture(scope="module")
def browser(chromium: Chromium) -> Iterator[Browser]:
    """Yield a running browser."""
    with chromium.launched() as launched:
        yield launched


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """Run what receives the traces of this stack."""
    with receiving() as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver, template: Template) -> Iterator[Stack]:
    """Run a stack whose callers need credentials and are traced, at the log level that says most."""
    directory = tmp_path_factory.mktemp("guarded")
    make_passable(directory)
    provider = write_jwks(directory / "jwks.json")
    variables = {"JWKS_FILE": provider.jwks_file, "JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "LOG_LEVEL": "DEBUG"}
    variables |= {"METRICS_PORT": "off", "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{receiver.port}"}
    variables |= {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_TRACES_SAMPLER": "parentbased_always_off"}
    with running(template.copy_to(directory / "stack"), **variables) as stack:
        yield stack.wait_until_up()
