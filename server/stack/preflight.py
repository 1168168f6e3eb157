"""What has to hold before anything is started: found out first, so that the message can name the variable to change."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import psycopg2

from server.settings import check_listenable
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
            raise StackError(
                f"DATA_DIR={directory} is in use by another running stack: stop it, or choose another"
            ) from None
        yield


def check_ports(settings: Settings) -> None:
    """Raise ConfigurationError if a port cannot be had: here it can be named, and nothing has been started yet."""
    check_listenable("HTTP_PORT", settings.bind_address, settings.http_port)
    for number, port in enumerate(settings.grpc_ports):
        check_listenable(worker_variable(number), settings.bind_address, port)
    check_listenable("ENVOY_ADMIN_PORT", "127.0.0.1", settings.envoy_admin_port)


def check_database(url: str) -> None:
    """Raise StackError if the database cannot be connected to within about 5 s."""
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        raise StackError(without_password(f"DATABASE_URL={url} cannot be reached: {reason}")) from None
