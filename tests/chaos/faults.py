"""The faults. Each is over when its function returns; only the stack itself repairs the damage."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from tests.support.database import backends, query
from tests.support.in_process import Client
from tests.support.stack import Stack
from tests.support.until import until

FREEZE_SECONDS = 3.0


def _workers(stack: Stack) -> list[int]:
    return stack.numbers_of("server-1")


def _pick_one(pids: list[int]) -> list[int]:
    return [random.choice(pids)] if pids else []


def _kill(pids: list[int]) -> None:
    assert 0 not in pids  # That would be the process group of the tests.
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _freeze(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    time.sleep(FREEZE_SECONDS)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _backends(stack: Stack) -> list[int]:
    url = stack.database_url
    return [pid for name in ("writer", "inserter", "search") for pid in backends(url, f"analytics {name}")]


def kill_a_worker(stack: Stack) -> None:
    """Send SIGKILL to one of the server processes."""
    _kill(_pick_one(_workers(stack)))


def kill_all_workers(stack: Stack) -> None:
    """Send SIGKILL to all server processes."""
    _kill(_workers(stack))


def kill_a_backend(stack: Stack) -> None:
    """Send SIGKILL to the backend of a writer or a search; PostgreSQL then ends all others and recovers."""
    _kill(_pick_one(_backends(stack)))


def kill_the_postmaster(stack: Stack) -> None:
    """Send SIGKILL to PostgreSQL's parent process, once it runs."""
    _kill([until(lambda: stack.number_of("postgres"))])


def kill_envoy(stack: Stack) -> None:
    """Send SIGKILL to Envoy, once it runs."""
    _kill([until(lambda: stack.number_of("envoy"))])


def kill_the_supervisor(stack: Stack) -> None:
    """Send SIGKILL to `make run` itself and start it again at once, as an init system would."""
    stack.process.kill()
    stack.process.wait()
    stack.start()
    stack.wait_until_up()


def freeze_a_worker(stack: Stack) -> None:
    """Stop a server process for 3 s: it keeps its connections and answers nothing."""
    _freeze(_pick_one(_workers(stack)))


def freeze_a_backend(stack: Stack) -> None:
    """Stop the backend of a writer or a search for 3 s: a statement that hangs."""
    _freeze(_pick_one(_backends(stack)))


def cut_all_connections(stack: Stack) -> None:
    """End all connections to PostgreSQL from its side."""
    query(
        stack.database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
    )


def restart_the_workers(stack: Stack) -> None:
    """Send SIGTERM to one worker after another, each once the last one serves again; no request may fail."""
    count = int(stack.environment["WORKERS"])
    # The fault before may have killed one of them, which nobody misses while the other serves.
    until(lambda: len(_workers(stack)) == count and all_serve(stack))
    time.sleep(2.0)
    for pid in _workers(stack):
        os.kill(pid, signal.SIGTERM)
        until(lambda pid=pid: pid not in _workers(stack))  # type: ignore[misc] # mypy sees no default here
        until(lambda: len(_workers(stack)) == count and all_serve(stack))
        time.sleep(2.0)  # Envoy checks their health once a second.


def fill_the_disk(stack: Stack) -> None:
    """Leave no byte on the disk for 3 s. Only for a stack with a disk of its own: see `small_disk`."""
    filler = stack.data.parent / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * (1 << 20))
    time.sleep(FREEZE_SECONDS)
    filler.unlink()


@contextlib.contextmanager
def small_disk(directory: Path, mebibytes: int) -> Iterator[bool]:
    """Mount a disk in memory at `directory`; yield whether that worked, which needs root."""
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
    """Return whether the health check of every worker says that it serves."""
    return all(_is_serving(stack.grpc_port + worker) for worker in range(int(stack.environment["WORKERS"])))


def _is_serving(port: int) -> bool:
    # A channel shares its connections with others to the same port, and with them how long to wait before the next try.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        try:
            return Client(channel).is_serving()
        except grpc.RpcError:
            return False


Fault = Callable[[Stack], None]

FAULTS: dict[str, Fault] = {
    "a worker is killed": kill_a_worker,
    "all workers are killed": kill_all_workers,
    "a PostgreSQL backend is killed": kill_a_backend,
    "the postmaster is killed": kill_the_postmaster,
    "Envoy is killed": kill_envoy,
    "the supervisor is killed": kill_the_supervisor,
    "a worker hangs for 3 s": freeze_a_worker,
    "a PostgreSQL backend hangs for 3 s": freeze_a_backend,
    "all database connections are cut": cut_all_connections,
    "the workers restart one by one": restart_the_workers,
    DISK: fill_the_disk,
}

HARMLESS = {"the workers restart one by one"}
"""The faults that callers must not notice at all."""
