"""An embedded PostgreSQL of a test's own."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.processes import ROOT


@contextlib.contextmanager
def running_postgres(directory: Path) -> Iterator[str]:
    """Run a PostgreSQL with its data in `directory`, where it stays, and yield the URL of its database.

    The URL is that of the owner, who may do anything. The database is empty at first. PostgreSQL logs to standard
    error. It runs in a process of its own, because that process leaves root behind, if the tests are root's.
    """
    make_passable(directory.absolute())
    command = [sys.executable, "-m", "tests.support.run_postgres", str(directory.absolute())]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, "PostgreSQL did not start"
        try:
            yield url
        finally:
            process.stdin.close()
            assert process.wait() == 0


def make_passable(directory: Path) -> None:
    """Let others pass through `directory` and all above it, the project and Python, if the tests are root's.

    The stack does the same for the account that runs it, but logs it, and some tests look at each line of its log.
    """
    if os.geteuid() == 0:
        ends = (directory, ROOT, Path(sys.executable).resolve().parent, Path(os.__file__).parent)
        for each in {above for end in ends for above in (end, *end.parents)}:
            mode = each.stat().st_mode
            if not mode & stat.S_IXOTH:
                each.chmod(mode | stat.S_IXOTH)
