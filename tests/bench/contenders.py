"""The processes that the rows compare, and how each is started and stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.processor_time import Parts
from tests.support.processes import ROOT, environment, free_port
from tests.support.stack import Stack, running
from tests.support.until import until

SERVER = "server"
"""One worker, by itself."""
GUARDED = "server with keys"
"""The same, whose callers need credentials."""
STOCK_NOOP = "stock no-op"
OUR_NOOP = "our no-op"
"""The same on our own transport."""
PLAIN = "plain design"
FASTAPI = "FastAPI"
FASTAPI_2 = "FastAPI, two processes"

_UVICORN = ("-m", "uvicorn", "tests.bench.baselines.peer:app", "--loop=uvloop", "--http=httptools", "--no-access-log")
_UVICORN_IS_READY = "Application startup complete"


class Contender(NamedTuple):
    """Processes that answer requests."""

    port: int
    """Where they answer. For the stack this is Envoy."""
    parts: Parts
    worker_ports: Sequence[int] = ()
    """For the stack, where each worker answers."""


@contextlib.contextmanager
def running_contender(name: str, directory: Path, url: str) -> Iterator[Contender]:
    """Run one of the contenders named above with its log in `directory`; yield it once it is ready."""
    port = free_port()
    module, processes = {
        SERVER: (("-m", "server"), 0),
        GUARDED: (("-m", "server"), 0),
        STOCK_NOOP: (("-m", "tests.bench.baselines.noop", str(port), "aio"), 0),
        OUR_NOOP: (("-m", "tests.bench.baselines.noop", str(port), "core"), 0),
        PLAIN: (("-m", "tests.bench.baselines.plain", str(port)), 0),
        FASTAPI: ((*_UVICORN, f"--port={port}"), 1),
        FASTAPI_2: ((*_UVICORN, f"--port={port}", "--workers=2"), 2),
    }[name]
    log = directory / f"{name}.log"

    def is_ready() -> bool:
        # uvicorn listens before its processes can answer.
        return log.read_text().count(_UVICORN_IS_READY) == processes if processes else _accepts_connections(port)

    variables = environment(DATABASE_URL=url, GRPC_PORT=str(port), AUTH="on" if name == GUARDED else "off")
    with _running([sys.executable, *module], variables, log, is_ready) as pid:
        yield Contender(port, {name: [pid]})


@contextlib.contextmanager
def running_stack(directory: Path, url: str) -> Iterator[tuple[Contender, Stack]]:
    """Run the whole stack with two workers on the database at `url`."""
    with running(directory, DATABASE_URL=url, WORKERS="2", AUTH="off") as stack:
        stack.wait_until_up()
        parts = {"Envoy": stack.numbers_of("envoy"), "server": stack.numbers_of("server-1")}
        yield Contender(stack.http_port, parts, stack.grpc_ports), stack


def _accepts_connections(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def _running(
    command: Sequence[str], variables: dict[str, str], log: Path, is_ready: Callable[[], bool]
) -> Iterator[int]:
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=output, stderr=output, start_new_session=True
        )
    try:
        until(lambda: process.poll() is not None or is_ready(), 60)
        if process.poll() is not None:
            sys.exit(f"{' '.join(command)} did not start:\n{log.read_text()}")
        yield process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
