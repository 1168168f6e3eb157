"""Load from h2load (Debian's nghttp2-client), and what it measured."""

import collections
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import Message

from tests.bench.processor_time import Parts, read_parts

GRPC = ("-H", "content-type: application/grpc", "-H", "te: trailers")
JSON = ("--h1", "-H", "content-type: application/json")

_WARM_UP_SECONDS = 1.0
# Processor time is read this long after the warm-up, and again this long before the end: h2load takes a moment to
# start, and its callers do not all end at once.
_MARGIN_SECONDS = 0.2


class Target(NamedTuple):
    """What callers of one kind request."""

    url: str
    options: Sequence[str]
    connections: int
    streams: int = 1
    """How many requests each connection has in flight."""


class Load(NamedTuple):
    """What callers measured, all kinds together."""

    rate: float
    """Requests a second."""
    costs: Mapping[str, float]
    """The microseconds of processor time that each part of the service used for a request."""
    window: tuple[float, float]
    """Two times within the load, in seconds since the epoch, between which `costs` were measured."""
    answered: int
    """How many requests were answered between these two."""
    in_flight: int
    """How many requests were in flight at any time."""
    p50: float = 0
    """The median time for a request, in microseconds."""
    p99: float = 0
    cores: float = 0
    """How much of a core h2load itself used."""
    bytes_an_answer: float = 0
    """The average size of a response on the wire."""


def require_h2load() -> None:
    """Exit if h2load is not installed."""
    if not shutil.which("h2load"):
        sys.exit("h2load is needed: apt-get install nghttp2-client")


def write_grpc_body(request: Message, directory: Path) -> Path:
    """Write `request` into a file as one gRPC message, and return its path."""
    data = request.SerializeToString()
    path = directory / f"{request.DESCRIPTOR.name}.bin"
    path.write_bytes(b"\0" + struct.pack(">I", len(data)) + data)
    return path


def run_load(*targets: Target, seconds: float, parts: Parts) -> Load:
    """Load all targets at once for `seconds`, after one second of warm-up. Exit if any answer is not 2xx.

    Args:
        targets: what to request.
        seconds: for how long.
        parts: the processes whose processor time is measured.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with ExitStack() as cleanup:
        timing = (f"-D{seconds:g}", f"--warm-up-time={_WARM_UP_SECONDS:g}")
        runs = [_Run(target, timing, cleanup) for target in targets]
        time.sleep(_WARM_UP_SECONDS + _MARGIN_SECONDS)
        used, start = read_parts(parts), time.time()
        time.sleep(seconds - 2 * _MARGIN_SECONDS)
        used_then, end = read_parts(parts), time.time()
        wire_bytes = sum(_read_bytes(run.wait(), " and ".join(parts)) for run in runs)
        answers = [answer for run in runs for answer in run.read_answers()]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    times = sorted(taken for _, taken in answers)
    answered = sum(start < (began + taken) / 1e6 <= end for began, taken in answers)
    if not answered:
        sys.exit(f"{' and '.join(parts)}: {targets[0].url} gave no answer within {seconds:g} s")
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Load(
        rate=len(times) / seconds,
        p50=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        cores=own / (seconds + _WARM_UP_SECONDS),
        costs={part: (used_then[part] - used[part]) / answered * 1e6 for part in parts},
        window=(start, end),
        answered=answered,
        in_flight=sum(target.connections * target.streams for target in targets),
        bytes_an_answer=wire_bytes / len(times),
    )


def run_requests(*targets: Target, count: int) -> "collections.Counter[str]":
    """Send `count` requests to each target, all targets at once, and return how many had each HTTP status."""
    statuses: collections.Counter[str] = collections.Counter()
    with ExitStack() as cleanup:
        for run in [_Run(target, [f"-n{count}"], cleanup) for target in targets]:
            run.wait()
            statuses.update(run.read_statuses())
    return statuses


def _read_bytes(output: str, name: str) -> int:
    """Return the bytes that h2load received. Exit, naming what it loaded, if any answer was not 2xx."""
    codes = re.search(r"status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", output)
    traffic = re.search(r"traffic: \S+ \((\d+)\) total", output)
    if not codes or not failed or not traffic or any(map(int, [*codes.groups(), *failed.groups()])):
        sys.exit(f"{name} gave other answers than 2xx:\n{output}")
    return int(traffic[1])


class _Run:
    """One run of h2load."""

    def __init__(self, target: Target, timing: Sequence[str], cleanup: ExitStack) -> None:
        directory = Path(cleanup.enter_context(tempfile.TemporaryDirectory()))
        self._log, self._output = directory / "log", directory / "output"
        callers = (f"-c{target.connections}", f"-m{target.streams}", "-t1")
        command = ["h2load", *timing, *callers, f"--log-file={self._log}", *target.options, target.url]
        # Into a file: a pipe that nobody reads would stop it.
        with self._output.open("w") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        cleanup.callback(self._stop)

    def wait(self) -> str:
        """Wait for its end, and return its output."""
        status = self._process.wait()
        output = self._output.read_text()
        if status:
            sys.exit(f"h2load failed:\n{output}")
        return output

    def read_answers(self) -> list[tuple[int, int]]:
        """Return when each answered request began, since the epoch, and how long it took, in microseconds."""
        lines = (line.split() for line in self._log.read_text().splitlines())
        return [(int(began), int(taken)) for began, _, taken in lines]

    def read_statuses(self) -> list[str]:
        """Return the HTTP status of each request; that of a request without an answer is -1."""
        return [line.split()[1] for line in self._log.read_text().splitlines()]

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
