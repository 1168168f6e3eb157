"""The migrations: which ones a database lacks, and applying them."""

from pathlib import Path
from typing import Any

from peewee import SQL, PostgresqlDatabase
from playhouse.migrations import Runner

from storage.connection import connect

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
    """
    with _Database(url) as database:
        runner = Runner(database, str(MIGRATIONS))
        return [migration.name for migration in runner.status() if not migration.applied]


def migrate(url: str) -> list[str]:
    """Apply the pending migrations and return their names. Of several callers at once, one works and the others wait.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    database: Any = _Database(url)
    with database:
        # Released when the connection closes.
        database.execute(SQL("SELECT pg_advisory_lock(%s)", (_LOCK,)))
        applied: list[str] = Runner(database, str(MIGRATIONS)).up()
        return applied
