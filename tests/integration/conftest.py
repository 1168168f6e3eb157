"""A real PostgreSQL for all tests of this tier, and a server on it."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.schema import migrate
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.postgres import running_postgres


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database."""
    with running_postgres(tmp_path_factory.mktemp("database")) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def server(database_url: str) -> Iterator[RunningServer]:
    """A server on that database."""
    with running_server(database_url) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Client:
    """The stubs of that server."""
    return server.client


@pytest.fixture
def customer() -> str:
    """A customer that no other test has."""
    return f"customer {uuid.uuid4()}"


@pytest.fixture
def empty_directory(tmp_path: Path) -> Path:
    """A directory for a PostgreSQL of the test's own."""
    return tmp_path
