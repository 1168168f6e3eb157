"""A pooler between the server and the database: PgBouncer, where there is one."""

import contextlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg2.extensions
import pytest

from storage import DatabaseUnavailable, UnfitDatabase
from storage.connection import connect
from storage.copier import SESSION
from storage.fitness import check_sessions
from tests.support.database import as_server, execute
from tests.support.in_process import running_server
from tests.support.postgres import make_passable
from tests.support.processes import free_port
from tests.support.requests import lead_event, lead_search
from tests.support.until import until

ACCOUNT = "embedded_postgres"


@contextlib.contextmanager
def running_pooler(url: str, directory: Path, mode: str) -> Iterator[str]:
    """Run PgBouncer in front of a database, and yield the URL by which the server's role reaches it."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("there is no pgbouncer on the PATH")
    target = psycopg2.extensions.parse_dsn(as_server(url))
    port = free_port()
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n{target['dbname']} = host={target['host']} port={target.get('port', 5432)} "
        f"user={target['user']}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\ndefault_pool_size = 40\n"
    )
    command = [program, "--quiet", str(configuration)]
    if os.geteuid() == 0:  # It refuses to run as root, and the database's socket is for this account alone.
        make_passable(directory)
        os.chown(configuration, pwd.getpwnam(ACCOUNT).pw_uid, -1)
        command.insert(1, f"--user={ACCOUNT}")
    through = psycopg2.extensions.make_dsn(
        host="127.0.0.1", port=port, dbname=target["dbname"], user=target.get("user", "")
    )
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: can_connect(through))
            yield through
        finally:
            process.terminate()


def can_connect(url: str) -> bool:
    """Return whether the pooler lets anybody through yet."""
    try:
        connect(url, "test", {}).close()
    except DatabaseUnavailable:
        return False
    return True


def test_sessions_behind_a_pooler_have_their_settings(own_database_url: str, tmp_path: Path, customer: str) -> None:
    name = psycopg2.extensions.parse_dsn(own_database_url)["dbname"]
    for setting in ("timezone = 'Asia/Tokyo'", "synchronous_commit = off"):
        execute(own_database_url, f"ALTER DATABASE {name} SET {setting}")
    with running_pooler(own_database_url, tmp_path, "session") as url:
        with contextlib.closing(connect(url, "test", SESSION)) as connection, connection.cursor() as cursor:
            names = ("timezone", "synchronous_commit", "lock_timeout", "default_transaction_isolation")
            cursor.execute(f"SELECT {', '.join(f'current_setting({each!r})' for each in names)}")
            assert cursor.fetchone() == ("UTC", "on", "3s", "read committed")
        with running_server(url) as server:
            created = server.client.leads.CreateLeadAnalyticsEvent(lead_event(customer), timeout=10)
            found = server.client.leads.SearchLeadAnalyticsEvents(lead_search(customer), timeout=10)
            assert [each.created_at for each in found.recordings] == [created.created_at]


def test_a_pooler_that_shares_sessions_is_refused_at_the_start(own_database_url: str, tmp_path: Path) -> None:
    with running_pooler(own_database_url, tmp_path, "transaction") as url:
        with pytest.raises(UnfitDatabase, match="shares sessions"):
            check_sessions(url)
        check_sessions(own_database_url)
