"""The stack that users run, shared by all tests of this tier that leave it as they found it."""

from collections.abc import Iterator

import grpc
import pytest

from tests.support.http import Http
from tests.support.in_process import Client
from tests.support.stack import Stack, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Run PostgreSQL, the server and Envoy on free ports."""
    with running(tmp_path_factory.mktemp("stack")) as started:
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
