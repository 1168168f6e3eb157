"""The proxy that the tests of lost answers rely on."""

import contextlib

import psycopg2
import pytest

from tests.support.database import execute, query
from tests.support.proxy import proxied

COMMITTED = b"INSERT 0 1\0"


@pytest.fixture
def notes(database_url: str) -> str:
    """Return the URL of a database with an empty table `note`."""
    execute(database_url, "DROP TABLE IF EXISTS note")
    execute(database_url, "CREATE TABLE note (text text)")
    return database_url


def test_a_reply_is_lost_once_and_what_it_acknowledged_is_stored(notes: str) -> None:
    with proxied(notes) as proxy:
        execute(proxy.url, "INSERT INTO note VALUES ('before')")
        proxy.cut_reply_to(COMMITTED)
        with pytest.raises(psycopg2.OperationalError):
            execute(proxy.url, "INSERT INTO note VALUES ('unanswered')")
        assert query(notes, "SELECT text FROM note") == [("before",), ("unanswered",)]
        execute(proxy.url, "INSERT INTO note VALUES ('after')")
        assert query(proxy.url, "SELECT count(*) FROM note") == [(3,)]
        assert proxy.cuts == 1


def test_a_reply_that_came_before_is_not_taken_for_the_next_one(notes: str) -> None:
    with proxied(notes) as proxy, contextlib.closing(psycopg2.connect(proxy.url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO note VALUES ('before')")
            proxy.cut_reply_to(COMMITTED)
            cursor.execute("SELECT text FROM note")
            assert cursor.fetchall() == [("before",)]
            assert proxy.cuts == 0
            with pytest.raises(psycopg2.OperationalError):
                cursor.execute("INSERT INTO note VALUES ('unanswered')")
        assert connection.closed
