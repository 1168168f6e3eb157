"""What is done to the stack: each of it is over when its function returns, and nobody but the stack mends it."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2

from server.stack.workers import is_serving
from tests.support.stack import Stack, until

STOPPED_SECONDS = 3.0


def _workers(stack: Stack) -> list[int]:
    return stack.numbers_of("server-1")


def _any(numbers: list[int]) -> list[int]:
    return [random.choice(numbers)] if numbers else []


def _kill(numbers: list[int]) -> None:
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _stop_for_a_while(numbers: list[int]) -> None:
    for number in numbers:
        os.kill(number, signal.SIGSTOP)
    time.sleep(STOPPED_SECONDS)
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGCONT)


def _backends(stack: Stack) -> list[int]:
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name ~ '^analytics (writer|inserter|search)$'"
        )
        return [number for (number,) in cursor.fetchall()]


def kill_a_worker(stack: Stack) -> None:
    """SIGKILL to one of the server processes."""
    _kill(_any(_workers(stack)))


def kill_all_workers(stack: Stack) -> None:
    """SIGKILL to all of the server processes."""
    _kill(_workers(stack))


def kill_a_backend(stack: Stack) -> None:
    """SIGKILL to the backend of a writer or a search, upon which PostgreSQL ends all others and recovers."""
    _kill(_any(_backends(stack)))


def kill_the_postmaster(stack: Stack) -> None:
    """SIGKILL to PostgreSQL's first process."""
    _kill([stack.number_of("postgres")])


def kill_envoy(stack: Stack) -> None:
    """SIGKILL to Envoy."""
    _kill([stack.number_of("envoy")])


def kill_the_supervisor(stack: Stack) -> None:
    """SIGKILL to `make run` itself, and a new one at once, as an init system would start it."""
    stack.process.kill()
    stack.process.wait()
    stack.start()
    stack.wait_until_up()


def stop_a_worker(stack: Stack) -> None:
    """SIGSTOP to a server process for 3 s: it holds its calls and answers nobody."""
    _stop_for_a_while(_any(_workers(stack)))


def stop_a_backend(stack: Stack) -> None:
    """SIGSTOP to the backend of a writer or a search for 3 s: a statement that takes long."""
    _stop_for_a_while(_any(_backends(stack)))


def cut_the_database(stack: Stack) -> None:
    """Ends all connections to PostgreSQL from its side."""
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


def restart_the_workers(stack: Stack) -> None:
    """SIGTERM to one worker after the other, each once the one before it serves again: no request may fail."""
    for number in _workers(stack):
        count = len(_workers(stack))
        os.kill(number, signal.SIGTERM)
        until(lambda number=number: number not in _workers(stack))  # type: ignore[misc] # mypy sees no default here
        until(lambda count=count: len(_workers(stack)) == count and all_serve(stack))  # type: ignore[misc] # as above
        time.sleep(2.0)  # Envoy asks once a second.


def fill_the_disk(stack: Stack) -> None:
    """No byte is left on the disk for 3 s. Only for a stack that has a disk of its own: see `small_disk`."""
    filler = stack.data.parent / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * (1 << 20))
    time.sleep(STOPPED_SECONDS)
    filler.unlink()


@contextlib.contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[bool]:
    """A disk of its own for `directory`, in memory; yields whether there is one, which takes root's rights."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(directory)]
    mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(directory)], check=True)


DISK = "the disk is full for 3 s"


def all_serve(stack: Stack) -> bool:
    """Whether each of the workers says that it serves."""
    workers = range(int(stack.environment["WORKERS"]))
    return all(is_serving(f"127.0.0.1:{stack.grpc_port + number}") for number in workers)


FAULTS: dict[str, Callable[[Stack], None]] = {
    "a worker is killed": kill_a_worker,
    "all workers are killed": kill_all_workers,
    "a PostgreSQL backend is killed": kill_a_backend,
    "the postmaster is killed": kill_the_postmaster,
    "Envoy is killed": kill_envoy,
    "the supervisor is killed": kill_the_supervisor,
    "a worker is stopped for 3 s": stop_a_worker,
    "a PostgreSQL backend is stopped for 3 s": stop_a_backend,
    "all database connections are cut": cut_the_database,
    "the workers are restarted in turn": restart_the_workers,
    DISK: fill_the_disk,
}

HARMLESS = {"the workers are restarted in turn"}
"""What callers must not notice at all."""
