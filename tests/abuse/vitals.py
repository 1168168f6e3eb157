"""What is seen of the processes from outside: their memory, and how long a worker leaves a health check waiting."""

import asyncio
import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.abuse.http2 import Http2
from tests.abuse.requests import prefix
from tests.abuse.victim import open_socket
from tests.support.stack import Stack

_PROBE_SECONDS = 0.02
_PATIENCE_SECONDS = 30.0


class Memory(NamedTuple):
    """MiB of the largest worker, and of Envoy."""

    worker: float
    envoy: float


class Processes:
    """The workers and Envoy of a stack as they are now."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._workers, self._envoy = stack.numbers_of("server-1"), stack.number_of("envoy")

    def are_there(self) -> bool:
        """Return whether none of them has ended."""
        return (self._workers, self._envoy) == (self._stack.numbers_of("server-1"), self._stack.number_of("envoy"))

    def read_memory(self) -> Memory:
        """Return what they have in memory; 0 for a process that has ended."""
        return self._read("VmRSS")

    def read_peak(self) -> Memory:
        """Return the most that they have had since `forget_peak`."""
        return self._read("VmHWM")

    def forget_peak(self) -> None:
        """Begin the peak anew."""
        for pid in (*self._workers, self._envoy):
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def _read(self, name: str) -> Memory:
        workers = max((_read_mebibytes(pid, name) for pid in self._workers), default=0.0)
        return Memory(workers, _read_mebibytes(self._envoy, name))


def _read_mebibytes(pid: int, name: str) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    values = dict(line.split(":", 1) for line in lines)
    return int(values[name].split()[0]) / 1024 if name in values else 0.0


class Probes:
    """A context manager that asks each worker for its health every 20 ms, one after another."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self.longest = 0.0
        """The seconds of the slowest answer, or that a probe has been waiting for one."""

    async def __aenter__(self) -> "Probes":
        self._tasks = [asyncio.create_task(self._probe(port)) for port in self._ports]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _probe(self, port: int) -> None:
        while True:
            with contextlib.suppress(OSError):
                connection = await Http2().connect(await open_socket(port))
                try:
                    while not connection.lost.is_set():
                        await self._time(connection)
                        await asyncio.sleep(_PROBE_SECONDS)
                finally:
                    connection.close()
            await asyncio.sleep(_PROBE_SECONDS)

    async def _time(self, connection: Http2) -> None:
        start = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await connection.call("/grpc.health.v1.Health/Check", prefix(b""))
        finally:
            self.longest = max(self.longest, time.monotonic() - start)
