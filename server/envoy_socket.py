"""The Unix socket on which a worker serves Envoy: nobody but its account can connect to it."""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from server.variables import ConfigurationError

# The kernel's limit, from sockaddr_un.
_MAX_PATH_BYTES = 107


@contextlib.contextmanager
def private_socket(path: Path) -> Iterator[None]:
    """Prepare the place for a socket, which is to be bound within the block, and which nobody else can use.

    Raises:
        ConfigurationError: it cannot be bound there; the message names the variable.
    """
    name = f"ENVOY_SOCKET={path}"
    if len(os.fsencode(path)) > _MAX_PATH_BYTES:
        raise ConfigurationError(f"{name} has more than {_MAX_PATH_BYTES} bytes, which is the system's limit")
    _prepare_directory(path.parent, name)
    if _is_in_use(path):
        raise ConfigurationError(f"{name} is in use: stop what listens there, or choose another")
    # So that it has its mode from the first moment on.
    mask = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(mask)


def _prepare_directory(directory: Path, name: str) -> None:
    """Create the directory if it is missing, and make sure that nobody else can enter it."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        found = directory.stat()
    except OSError as error:
        raise ConfigurationError(f"{name}: the directory cannot be used: {error.strerror}") from None
    if found.st_uid != os.geteuid():
        raise ConfigurationError(f"{name}: the directory belongs to another account: choose one of this account")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigurationError(f"{name}: others can enter the directory: chmod 700 {directory}")


def _is_in_use(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(os.fspath(path)) not in (errno.ECONNREFUSED, errno.ENOENT)
