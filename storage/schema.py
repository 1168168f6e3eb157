"""The migrations: which ones a database lacks, and applying them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peewee
from peewee import PostgresqlDatabase
from playhouse.migrations import Runner
from psycopg2.errorcodes import LOCK_NOT_AVAILABLE

from storage.connection import connect
from storage.errors import UnfitDatabase
from storage.fitness import check_database, check_sessions
from storage.privileges import SERVER_ROLE, check_privileges, grant_privileges, role_exists
from storage.tables import TABLES

MIGRATIONS = Path(__file__).parent / "migrations"

# An advisory lock number that no other program on the database is likely to use: "analytic" in ASCII.
_LOCK = 0x616E616C79746963

_POLL_SECONDS = 0.2

PAUSE_SECONDS = 2.0
"""For which others write, after a second in which they may have had to wait."""

_FIND_BLOCKERS = """
SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start)::int
FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid IN (
  SELECT pid FROM pg_locks WHERE relation = to_regclass('analytics_event') AND granted AND pid <> pg_backend_pid()
)
ORDER BY xact_start LIMIT 3
"""


class _Database(PostgresqlDatabase):
    """Peewee on a connection made by `storage.connection`, so that URLs and errors are the same everywhere."""

    def __init__(self, url: str) -> None:
        super().__init__(None)
        self._url = url
        self.init("analytics")

    def _connect(self) -> Any:
        return connect(self._url, "analytics migrate", {})


def find_pending(url: str) -> list[str]:
    """Return the names of the migrations that the database still lacks, in order.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        UnfitDatabase: it, or the way to it, is none that the service can use.
        PrivilegesMissing: the role of `url` may not do what a server does.
    """
    check_sessions(url)
    database: Any = _Database(url)
    with database:
        check_database(database.cursor())
        check_privileges(database)
        runner = Runner(database, str(MIGRATIONS))
        pending = [migration.name for migration in runner.status() if not migration.applied]
        if not pending:
            _check_tables(database)
        return pending


def _check_tables(database: Any) -> None:
    """Raise UnfitDatabase if a table of a migrated cluster is on another node alone."""
    sql = "SELECT name FROM unnest(%s) AS name WHERE to_regclass(name) IS NULL"
    if missing := [name for (name,) in database.execute_sql(sql, (list(TABLES),)).fetchall()]:
        raise UnfitDatabase(
            f"it lacks the table {missing[0]}: on a cluster, run `python -m storage.distribute` at the coordinator"
        )


def migrate(url: str, server_role: str = SERVER_ROLE, report: Callable[[str], None] = lambda _: None) -> list[str]:
    """Apply the pending migrations and return their names. Of several callers at once, one works and the others wait.

    A migration that needs a lock on a table waits a second for it, then lets those pass who wait behind it, and tries
    again, for as long as it takes.

    The server's role is granted what it needs. If it is missing, it is created, unless the owner may not do that.

    Args:
        url: the database, as the owner of its tables.
        server_role: the role of the servers, or a role that theirs is a member of.
        report: called with a line for people when a migration has to wait.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        UnfitDatabase: it is none that the service can use.
        peewee.DatabaseError: it refuses a migration or a grant.
    """
    database: Any = _Database(url)
    with database.connection_context():  # Unlike the database itself, no transaction.
        check_database(database.cursor())
        wait_for_lock(database.cursor())
        runner = Runner(database, str(MIGRATIONS))
        # With nothing to do, another role than the owner, which may create no tables, may call this.
        pending = [each.name for each in runner.status() if not each.applied]
        for name in pending:
            _apply(database, runner, name, report)
        with database.atomic():
            grant_privileges(database, server_role)
        return pending


def describe_pending(url: str) -> list[tuple[str, str]]:
    """Return the name of each pending migration, and what its file says about it. Raises as `migrate` does."""
    database: Any = _Database(url)
    with database:
        check_database(database.cursor())
        runner = Runner(database, str(MIGRATIONS))
        return [(each.name, str(each.load().__doc__)) for each in runner.status() if not each.applied]


def count_events(url: str) -> int:
    """Return about how many events the table has, as PostgreSQL's statistics have it. Raises as `migrate` does."""
    database: Any = _Database(url)
    with database:
        sql = "SELECT coalesce(max(reltuples)::bigint, 0) FROM pg_class WHERE oid = to_regclass('analytics_event')"
        return max(int(database.execute_sql(sql).fetchone()[0]), 0)


def _apply(database: Any, runner: Runner, name: str, report: Callable[[str], None]) -> None:
    """Apply one migration, once it gets its locks."""
    while True:
        database.execute_sql("SET lock_timeout = '1s'")
        try:
            runner.up(name)
        except peewee.OperationalError as error:
            if getattr(error.__cause__ or error.__context__, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            report(f"{name} waits for {find_blockers(database.cursor())}")
            time.sleep(PAUSE_SECONDS)
        else:
            return
        finally:
            database.execute_sql("SET lock_timeout = 0")


def wait_for_lock(cursor: Any) -> None:
    """Wait until nobody else changes the schema. It is then locked until the connection closes."""
    # Not by a statement that waits: an index that is built concurrently would wait for its end.
    while True:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
        if cursor.fetchone() == (True,):
            return
        time.sleep(_POLL_SECONDS)


def find_blockers(cursor: Any) -> str:
    """Return who has used the events table for the longest time."""
    cursor.execute(_FIND_BLOCKERS)
    names = [f"pid {pid} ({name or 'no name'}, for {seconds} s)" for pid, name, seconds in cursor.fetchall()]
    return ", ".join(names) or "a lock"


def has_role(url: str, name: str) -> bool:
    """Return whether PostgreSQL knows a role of that name. Raises DatabaseUnavailable if it cannot be reached."""
    with _Database(url) as database:
        return role_exists(database, name)
