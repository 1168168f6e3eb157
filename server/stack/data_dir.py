"""DATA_DIR: only its owner can enter it, and only one stack at a time uses it."""

import contextlib
import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from server.accounts import name_account
from server.stack import console
from server.stack.settings import StackError

_MODE = 0o700
# What a stack puts there. A new file system may bring its own lost+found.
_OURS = {"lock", "envoy.yaml", "run", "postgres", "lost+found"}
_UNFINISHED = "postgres.new-"


def prepare_data_dir(directory: Path, owner: pwd.struct_passwd | None = None) -> None:
    """Create `directory` if it is missing, and make sure that nobody but its owner can enter it.

    Args:
        directory: An absolute path.
        owner: Whom it must belong to, if root calls this. Otherwise it must belong to the current user.

    Raises:
        StackError: the directory cannot be used; the message says why.
    """
    name = f"DATA_DIR={directory}"
    try:
        directory.mkdir(mode=_MODE, parents=True, exist_ok=True)
        found = directory.stat()
        entries = sorted(each.name for each in directory.iterdir()) if os.access(directory, os.R_OK) else []
    except OSError as error:
        raise StackError(f"{name} cannot be used: {error.strerror}") from None
    user = os.geteuid()
    if found.st_uid not in {user, owner.pw_uid if owner else user}:
        raise StackError(
            f"{name} belongs to the account {name_account(found.st_uid)}, and this one is "
            f"{name_account(user)}: change its owner, or choose another directory"
        )
    is_open = bool(stat.S_IMODE(found.st_mode) & ~_MODE)
    is_moved = owner is not None and found.st_uid != owner.pw_uid
    # Whoever names /tmp or a home directory does not want it closed to others or given away.
    foreign = [entry for entry in entries if entry not in _OURS and not entry.startswith(_UNFINISHED)]
    if (is_open or is_moved) and foreign:
        raise StackError(
            f"{name} has other files in it, such as {foreign[0]}, and would be closed to all accounts but one: "
            "choose a directory that is empty, or not there yet"
        )
    if owner and is_moved:
        _give_away(directory, owner)
    if is_open:
        if entries:
            console.log("stack", f"chmod 700 {directory}: nobody else may read the events")
        directory.chmod(_MODE)


@contextlib.contextmanager
def locked_data_dir(directory: Path) -> Iterator[None]:
    """Keep other stacks from using `directory` until the block ends.

    Raises:
        StackError: another stack uses it, or it cannot be used.
    """
    try:
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise StackError(f"DATA_DIR={directory} cannot be used: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(
                f"DATA_DIR={directory} is in use by another running stack: stop that stack, or choose another directory"
            ) from None
        yield


def _give_away(directory: Path, owner: pwd.struct_passwd) -> None:
    """Make `owner` the owner of `directory` and of everything in it."""
    for _, directories, files, descriptor in os.fwalk(directory):
        for name in (*directories, *files):
            os.chown(name, owner.pw_uid, owner.pw_gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(directory, owner.pw_uid, owner.pw_gid)
