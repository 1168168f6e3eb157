"""Checks that run before anything is started, so that an error message can name the variable to change."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import psycopg2

from server.settings import check_listenable
from server.stack.settings import StackError, StackSettings, hide_password, name_grpc_port


@contextlib.contextmanager
def lock_data_dir(directory: Path) -> Iterator[None]:
    """Create `directory` if it is missing, and keep other stacks from using it.

    Raises:
        StackError: the directory cannot be used, or another stack uses it.
    """
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
                f"DATA_DIR={directory} is in use by another running stack: stop that stack, or choose another directory"
            ) from None
        yield


def check_ports(settings: StackSettings) -> None:
    """Raise ConfigurationError, naming the variable, if the stack cannot listen on one of its ports."""
    check_listenable("HTTP_PORT", settings.bind_address, settings.http_port)
    for worker, port in enumerate(settings.grpc_ports):
        check_listenable(name_grpc_port(worker), settings.bind_address, port)
    check_listenable("ENVOY_ADMIN_PORT", "127.0.0.1", settings.envoy_admin_port)


def check_database(url: str) -> None:
    """Raise StackError if no connection to the database can be made within about 5 s."""
    try:
        psycopg2.connect(url, connect_timeout=5).close()
    except psycopg2.OperationalError as error:
        reason = " ".join(str(error).split())
        raise StackError(hide_password(f"DATABASE_URL={url} cannot be reached: {reason}")) from None
