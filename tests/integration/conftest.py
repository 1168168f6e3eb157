"""A real PostgreSQL for all tests of this tier, and a server that uses it."""

import uuid
from collections.abc import Iterator

import pytest

from storage.schema import migrate
from tests.support import database
from tests.support.database import execute
from tests.support.in_process import Client, RunningServer, running_server
from tests.support.postgres import running_postgres


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a migrated database."""
    with running_postgres(tmp_path_factory.mktemp("database")) as url:
        migrate(url)
        yield url


@pytest.fixture(scope="session")
def guarded_url(database_url: str) -> Iterator[str]:
    """Yield the URL of a migrated database for the tests that make keys: with the first key, others would need some."""
    execute(database_url, "CREATE DATABASE guarded")
    url = database_url.replace("/analytics?", "/guarded?")
    migrate(url)
    yield url
    execute(database_url, "DROP DATABASE guarded WITH (FORCE)")


@pytest.fixture
def own_database_url(database_url: str) -> Iterator[str]:
    """Yield the URL of a migrated database for one test, which may then break it."""
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
