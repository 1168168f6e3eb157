"""The directory of the stack's Unix sockets, which only their owner can enter."""

import contextlib
import hashlib
import os
import shutil
import stat
from pathlib import Path

from server.stack.settings import StackError

# The kernel's limit on the path of a Unix socket, from sockaddr_un.
_MAX_SOCKET_PATH_BYTES = 107
_LONGEST_NAME = Path("private") / ".s.PGSQL.5432"


def find_run_directory(data_dir: Path) -> Path:
    """Return `run` in `data_dir`, or a directory in /tmp, always the same one, if no socket can have such a path.

    Args:
        data_dir: An absolute path.
    """
    directory = data_dir / "run"
    too_long = len(os.fsencode(directory / _LONGEST_NAME)) > _MAX_SOCKET_PATH_BYTES
    # A comma separates directories, in PostgreSQL's parameter and in the host of a URL.
    if too_long or set(str(directory)) & set(',"'):
        return Path("/tmp") / f"analytics-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"  # noqa: S108 - checked
    return directory


def make_run_directory(data_dir: Path, cleanup: contextlib.AsyncExitStack) -> Path:
    """Return the directory for `data_dir`, which gets mode 0700. What an earlier stack has left in it stays.

    Args:
        data_dir: An absolute path.
        cleanup: To be closed after the processes that use the sockets have been stopped.

    Raises:
        StackError: it belongs to somebody else.
    """
    directory = find_run_directory(data_dir)
    directory.mkdir(mode=0o700, exist_ok=True)
    if not is_directory_of(directory, os.geteuid()):  # In /tmp, anyone could have made it.
        raise StackError(f"{directory} belongs to another account, and the sockets have to be there: remove it")
    directory.chmod(0o700)
    if directory.parent != data_dir:
        cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def is_directory_of(path: Path, user: int) -> bool:
    """Return whether it is a directory, and no link to one, that belongs to the user of this id."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user
