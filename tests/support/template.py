"""A data directory with a migrated database, for stacks of tests to copy: to make another one takes a second."""

import fcntl
import shutil
import subprocess
from pathlib import Path

from storage.schema import migrate
from tests.support.postgres import running_postgres


class Template:
    """The data directory that the first to need one makes. All processes of a run share it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = directory.with_suffix(".lock")

    def copy_to(self, directory: Path) -> Path:
        """Return `directory`, in which a stack will find a copy in place of an empty database."""
        directory.mkdir(exist_ok=True)
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._directory.exists():
                self._make()
        # As root, it keeps the account that it belongs to.
        subprocess.run(["cp", "-a", self._directory, directory / "data"], check=True)
        return directory

    def _make(self) -> None:
        unfinished = self._directory.with_suffix(".new")
        unfinished.mkdir(mode=0o700)
        with running_postgres(unfinished) as url:
            migrate(url)
        shutil.rmtree(unfinished / "run", ignore_errors=True)
        unfinished.rename(self._directory)
