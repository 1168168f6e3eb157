"""The faults that other tests cause in the database."""

import contextlib
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest

from tests.support.database import (
    AVAILABILITY,
    backends,
    frozen_backend,
    locked_table,
    query,
    refusing_connections,
    terminate_backends,
)
from tests.support.until import until


def test_a_locked_table_keeps_others_waiting(database_url: str) -> None:
    impatient = database_url + "&options=-c%20lock_timeout%3D50ms"
    with locked_table(database_url), pytest.raises(psycopg2.errors.LockNotAvailable):
        query(impatient, "SELECT count(*) FROM analytics_event")
    assert len(query(impatient, "SELECT count(*) FROM analytics_event")) == 1


def test_backends_are_found_frozen_and_terminated_by_name(database_url: str) -> None:
    with (
        contextlib.closing(psycopg2.connect(database_url, application_name="mine")) as older,
        contextlib.closing(psycopg2.connect(database_url, application_name="mine")) as newer,
    ):
        both = {older.info.backend_pid, newer.info.backend_pid}
        assert backends(database_url, "mine") == both
        with frozen_backend(database_url, "mine") as frozen:
            assert frozen == newer.info.backend_pid
            assert Path(f"/proc/{frozen}/stat").read_text().split()[2] == "T"
        assert terminate_backends(database_url, "mine") == both
        until(lambda: not backends(database_url, "mine"))


def test_connections_can_be_refused_while_those_that_are_open_go_on(database_url: str) -> None:
    with (
        contextlib.closing(psycopg2.connect(database_url)) as connection,
        contextlib.closing(psycopg2.connect(database_url, application_name=AVAILABILITY)) as check,
        connection.cursor() as cursor,
    ):
        with refusing_connections(database_url):
            with pytest.raises(psycopg2.OperationalError, match="not currently accepting connections"):
                psycopg2.connect(database_url)
            cursor.execute("SELECT 1")
            until(lambda: check.info.backend_pid not in backends(database_url, AVAILABILITY))
        assert query(database_url, "SELECT 1") == [(1,)]
