"""The migrations: which ones a database lacks, and applying them."""

from pathlib import Path
from typing import Any

from peewee import SQL, PostgresqlDatabase
from playhouse.migrations import Runner

from storage.connection import connect
from storage.fitness import check_database, check_sessions
from storage.privileges import SERVER_ROLE, check_privileges, grant_privileges, role_exists

MIGRATIONS = Path(__file__).parent / "migrations"

# An advisory lock number that no other program on the database is likely to use: "analytic" in ASCII.
_LOCK = 0x616E616C79746963


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
        return [migration.name for migration in runner.status() if not migration.applied]


def migrate(url: str, server_role: str = SERVER_ROLE) -> list[str]:
    """Apply the pending migrations and return their names. Of several callers at once, one works and the others wait.

    The server's role is granted what it needs. If it is missing, it is created, unless the owner may not do that.

    Args:
        url: the database, as the owner of its tables.
        server_role: the role of the servers, or a role that theirs is a member of.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        UnfitDatabase: it is none that the service can use.
        peewee.DatabaseError: it refuses a migration or a grant.
    """
    database: Any = _Database(url)
    with database:
        check_database(database.cursor())
        # Released when the connection closes.
        database.execute(SQL("SELECT pg_advisory_lock(%s)", (_LOCK,)))
        runner = Runner(database, str(MIGRATIONS))
        # With nothing to do, another role than the owner, which may create no tables, may call this.
        applied: list[str] = runner.up() if any(not each.applied for each in runner.status()) else []
        grant_privileges(database, server_role)
        return applied


def has_role(url: str, name: str) -> bool:
    """Return whether PostgreSQL knows a role of that name. Raises DatabaseUnavailable if it cannot be reached."""
    with _Database(url) as database:
        return role_exists(database, name)
