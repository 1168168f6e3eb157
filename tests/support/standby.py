"""Two PostgreSQLs of a test's own: a primary, and a standby that can take over."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions

from server.stack.os_user import ACCOUNT
from server.stack.pgdata import PROGRAMS, make_environment
from server.stack.postgres import make_owner_url
from tests.support.database import as_server, execute, query
from tests.support.postgres import make_passable
from tests.support.until import until

_OPTIONS = {
    "listen_addresses": "",
    "port": "5432",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "log_min_messages": "log",
    # Processes are killed here, and no machine.
    "fsync": "off",
}


_BECOME = """
import os, sys
uid, gid, *command = sys.argv[1:]
os.setgroups([])
os.setgid(int(gid))
os.setuid(int(uid))
os.execv(command[0], command)
"""


class Node:
    """One of the two. Its name is the `application_name` by which the other one knows it."""

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.data = directory / f"{name}.data"
        self.sockets = directory / name
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[Any] | None = None
        make_own(directory)
        make_own(self.sockets)

    @property
    def url(self) -> str:
        """The database as the owner."""
        return make_owner_url(self.sockets)

    def copy(self, url: str) -> None:
        """Take the data of another PostgreSQL, with all that it has in its cluster."""
        shutil.rmtree(self.data, ignore_errors=True)
        _run("pg_basebackup", f"--dbname={url}", f"--pgdata={self.data}", "--checkpoint=fast", "--no-sync")

    def start(self, primary: "Node | None" = None, **options: str) -> None:
        """Start it, as a standby of `primary` if there is one, and return once it accepts connections.

        Args:
            primary: the one that it follows.
            options: further parameters of PostgreSQL.
        """
        options = {**_OPTIONS, "unix_socket_directories": str(self.sockets), **options}
        if primary is not None:
            (self.data / "standby.signal").touch()
            dsn = psycopg2.extensions.make_dsn(primary.url, dbname="", application_name=self.name)
            options |= {"primary_conninfo": dsn, "wal_retrieve_retry_interval": "100"}
        words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = _as_account("postgres", "-D", str(self.data), *words)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", env=make_environment())
        until(self.is_up)

    @property
    def is_running(self) -> bool:
        """Whether it has been started, and not been killed."""
        return self._process is not None

    def is_up(self) -> bool:
        """Return whether it accepts connections."""
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            return query(self.url, "SELECT true") == [(True,)]
        except psycopg2.OperationalError:
            return False

    def kill(self) -> None:
        """End all of its processes at once, as a power failure would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)  # So that it starts no other.
            while others := self._find_processes() - {self._process.pid}:
                for pid in others:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None
            (self.data / "postmaster.pid").unlink(missing_ok=True)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all of its processes until the block ends."""
        processes = self._find_processes()
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)

    def _find_processes(self) -> set[int]:
        """Return the PIDs of all that run in the data directory. One that has ended has no such directory."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (process / "cwd").readlink() == self.data:
                    found.add(int(process.name))
        return found

    def promote(self) -> None:
        """Make the standby a primary."""
        execute(self.url, "SELECT pg_promote()")

    def wait_for_standbys(self, *names: str) -> None:
        """Have commits wait for one of these standbys, or for none, and return once that is so."""
        setting = f"ANY 1 ({', '.join(names)})" if names else ""
        execute(self.url, f"ALTER SYSTEM SET synchronous_standby_names = '{setting}'")
        execute(self.url, "SELECT pg_reload_conf()")
        sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'quorum'"
        until(lambda: query(self.url, sql) == [(len(names),)])


class Pair:
    """A primary and its standby. When the standby has taken over, they have changed places."""

    def __init__(self, directory: Path) -> None:
        self.primary, self.standby = Node(directory, "a"), Node(directory, "b")
        self._hosts = [self.primary.sockets, self.standby.sockets]

    @property
    def url(self) -> str:
        """The database as the owner, on both hosts."""
        parameters = psycopg2.extensions.parse_dsn(self.primary.url)
        hosts = ",".join(map(str, self._hosts))
        dsn: str = psycopg2.extensions.make_dsn(**{**parameters, "host": hosts, "port": "5432,5432"})
        return dsn

    @property
    def server_url(self) -> str:
        """The same in the role of the servers."""
        return as_server(self.url)

    def fail_over(self, seconds: float = 0.0) -> None:
        """Kill the primary for good, and let the standby take over after so many seconds. Its commits wait for none."""
        self.primary.kill()
        time.sleep(seconds)
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary
        self.primary.wait_for_standbys()

    def add_standby(self) -> None:
        """Make the one that was killed a standby of the other, with a copy of its data."""
        self.standby.copy(self.primary.url)
        self.standby.start(self.primary)
        sql = "SELECT count(*) FROM pg_stat_replication WHERE application_name = %s AND state = 'streaming'"
        until(lambda: query(self.primary.url, sql, self.standby.name) == [(1,)])


@contextlib.contextmanager
def running_pair(directory: Path, source: str) -> Iterator[Pair]:
    """Run a primary with the data of the PostgreSQL at `source`, and a standby on which its commits wait."""
    pair = Pair(directory)
    try:
        pair.primary.copy(source)
        pair.primary.start()
        pair.add_standby()
        pair.primary.wait_for_standbys(pair.standby.name)
        yield pair
    finally:
        pair.primary.kill()
        pair.standby.kill()


def make_own(directory: Path) -> None:
    """Make a directory that belongs to the account of PostgreSQL."""
    directory.mkdir(exist_ok=True)
    make_passable(directory)
    if os.geteuid() == 0:
        os.chown(directory, pwd.getpwnam(ACCOUNT).pw_uid, -1)


def _as_account(program: str, *arguments: str) -> list[str]:
    """Return the command that runs a program of PostgreSQL, which refuses to be root's."""
    command = [str(PROGRAMS / program), *arguments]
    if os.geteuid() != 0:
        return command
    # Popen's `user` would make it fork, with gRPC's threads in this process, and sometimes crash.
    account = pwd.getpwnam(ACCOUNT)
    return [sys.executable, "-ISc", _BECOME, str(account.pw_uid), str(account.pw_gid), *command]


def _run(program: str, *arguments: str) -> None:
    subprocess.run(_as_account(program, *arguments), env=make_environment(), check=True, cwd="/")
