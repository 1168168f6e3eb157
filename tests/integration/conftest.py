"""A real PostgreSQL for all tests of this tier, or a Citus cluster, and a server that uses it."""

import contextlib
import os
import uuid
from collections.abc import Iterator

import pytest

from storage.distribution import distribute
from storage.privileges import SERVER_ROLE
from storage.schema import migrate
from tests.support import database
from tests.support.database import execute
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.postgres import running_postgres


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a migrated database: of the cluster whose coordinator is CITUS_URL, if that is set."""
    if url := os.environ.get("CITUS_URL"):
        migrate(url)
        distribute(url, 8, print)
        execute(url, f"ALTER ROLE {SERVER_ROLE} LOGIN")
        yield url
        return
    with running_postgres(tmp_path_factory.mktemp("database")) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def guarded_url(database_url: str) -> Iterator[str]:
    """Yield the URL of a migrated database for the tests that make keys: with the first key, others would need some."""
    with own_database(database_url) as url:
        yield url


@pytest.fixture
def own_database_url(database_url: str) -> Iterator[str]:
    """Yield the URL of a migrated database for one test, which may then break it."""
    with own_database(database_url) as url:
        yield url


@contextlib.contextmanager
def own_database(database_url: str) -> Iterator[str]:
    """Yield the URL of another migrated database of the same PostgreSQL."""
    name = f"own_{uuid.uuid4().hex}"
    execute(database_url, f"CREATE DATABASE {name}")
    url = database_url.replace("/analytics?", f"/{name}?")
    migrate(url)
    yield url
    execute(database_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def server(database_url: str) -> Iterator[RunningServer]:
    """Yield a server that uses this database."""
    with running_server(database_url) as running:
        yield running


@pytest.fixture
def client(server: RunningServer) -> Client:
    """Return a client of this server."""
    return server.client


@pytest.fixture(name="locked_table")
def lock_events_table(database_url: str) -> Iterator[None]:
    """Lock the events table: every statement on it hangs until the test ends."""
    with database.locked_table(database_url):
        yield
