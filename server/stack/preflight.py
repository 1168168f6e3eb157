"""What has to hold before anything is started: found out first, so that the message can name the variable to change."""

import contextlib
import errno
import fcntl
import socket
from collections.abc import Iterator
from pathlib import Path

import psycopg2

from server.stack.settings import Settings, StackError, without_password, worker_variable


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Create `directory` if need be and hold it for this stack alone; raises StackError if that is not possible."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
    except OSError as error:
        raise StackError(f"DATA_DIR={directory} cannot be used: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"DATA_DIR={directory} is in use by another running stack") from None
        yield


def check_ports(settings: Settings) -> None:
    """Raise StackError if one of the ports cannot be had: here it can be named, and nothing has been started yet."""
    for name, address, port in (
        ("HTTP_PORT", settings.bind_address, settings.http_port),
        *((worker_variable(n), settings.bind_address, port) for n, port in enumerate(settings.grpc_ports)),
        ("ENVOY_ADMIN_PORT", "127.0.0.1", settings.envoy_admin_port),
    ):
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # Not stopped by what a last run left behind.
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise StackError(f"BIND_ADDRESS={address} is not an address of this machine") from None
                raise StackError(f"{name}={port} cannot be listened on at {address}: {error.strerror}") from None


def check_database(url: str) -> None:
    """Raise StackError if the database cannot be connected to within about 5 s."""
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        raise StackError(without_password(f"DATABASE_URL={url} cannot be reached: {reason}")) from None
