"""Load from h2load (Debian's nghttp2-client), and its measurements."""

import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import Message

GRPC = ("-H", "content-type: application/grpc", "-H", "te: trailers")


class Load(NamedTuple):
    """What a run of h2load measured."""

    rate: float
    """Requests a second."""
    p50: float
    """The median time for a request, in microseconds."""
    p99: float
    cores: float
    """How much of a core h2load itself used."""


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


def h2load(url: str, *options: str, connections: int, streams: int = 1, seconds: float = 3.0) -> Load:
    """Load `url` for `seconds` after one second of warm-up. Exit if any answer is not 2xx."""
    with tempfile.NamedTemporaryFile() as log:
        command = ["h2load", f"-D{seconds:.0f}", "--warm-up-time=1", f"-c{connections}", f"-m{streams}", f"-t{1}"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(
            [*command, f"--log-file={log.name}", *options, url],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times = sorted(int(line.split()[2]) for line in log.read().decode().splitlines())
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", ran.stdout)
    if not times or not statuses or any(map(int, statuses.groups()[1:])):
        sys.exit(f"{url} gave other answers than 2xx:\n{ran.stdout}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Load(
        rate=len(times) / seconds,
        p50=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        cores=used / (seconds + 1),
    )
