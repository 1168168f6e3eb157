"""The stack that users run, one for all tests of this tier that leave it as they found it."""

import uuid
from collections.abc import Iterator

import grpc
import pytest

from tests.support.http import Http
from tests.support.in_process import Client
from tests.support.stack import Stack, running


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, the server and Envoy, on free ports."""
    with running(tmp_path_factory.mktemp("stack")) as started:
        yield started.wait_until_up()


@pytest.fixture(scope="session")
def http(stack: Stack) -> Http:
    """A JSON caller, through Envoy."""
    return Http(stack.http_port)


@pytest.fixture(scope="session", params=["directly", "through Envoy"])
def client(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Client]:
    """A gRPC caller, both ways."""
    port = stack.grpc_port if request.param == "directly" else stack.http_port
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield Client(channel)


@pytest.fixture
def customer() -> str:
    """A customer that no other test has."""
    return f"customer {uuid.uuid4()}"
