"""The directory of the stack's Unix sockets, which only their owner can enter."""

import contextlib
import os
import tempfile
from pathlib import Path

# The kernel's limit on the path of a Unix socket, from sockaddr_un.
_MAX_SOCKET_PATH_BYTES = 107
_LONGEST_NAME = Path("private") / ".s.PGSQL.5432"


def make_run_directory(data_dir: Path, cleanup: contextlib.AsyncExitStack) -> Path:
    """Return a directory of mode 0700: `run` in `data_dir`, or a temporary one if no socket can have such a path.

    Args:
        data_dir: An absolute path.
        cleanup: To be closed after the processes that use the sockets have been stopped.
    """
    directory = data_dir / "run"
    too_long = len(os.fsencode(directory / _LONGEST_NAME)) > _MAX_SOCKET_PATH_BYTES
    # A comma separates directories, in PostgreSQL's parameter and in the host of a URL.
    if too_long or set(str(directory)) & set(',"'):
        return Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="analytics-", dir="/tmp")))
    directory.mkdir(mode=0o700, exist_ok=True)
    directory.chmod(0o700)
    return directory
