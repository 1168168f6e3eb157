"""`python -m server.stack.psql`: opens the psql that comes with the stack, on the database of `make run` or another.

That is OWNER_DATABASE_URL, or else DATABASE_URL, or else the database of the stack that runs with its data in DATA_DIR.
Further arguments are psql's own.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from server.stack.pgdata import PROGRAMS
from server.stack.postgres import SOCKET, make_owner_url
from server.stack.run_directory import find_run_directory, is_directory_of


def find_url() -> str | None:
    """Return the URL of the database, or None if there is none: then say so on standard error."""
    data_dir = Path(os.environ.get("DATA_DIR") or ".data").absolute()
    run = find_run_directory(data_dir)
    url = os.environ.get("OWNER_DATABASE_URL") or os.environ.get("DATABASE_URL")
    if url:
        return url
    # In /tmp, a directory of the same name might be somebody else's.
    if data_dir.exists() and is_directory_of(run, data_dir.stat().st_uid) and (run / SOCKET).exists():
        return make_owner_url(run)
    print(f"no stack runs with its data in {data_dir}: set DATABASE_URL, or `make run`", file=sys.stderr)
    return None


def main() -> int:
    """Run psql, and return its exit status, or say in one line what is missing."""
    url = find_url()
    if url is None:
        return 2
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # It is psql's, which goes on.
    command = [str(PROGRAMS / "psql"), url, *sys.argv[1:]]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - the arguments are those of whoever calls


if __name__ == "__main__":
    sys.exit(main())
