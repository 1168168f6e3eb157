"""Load from h2load (Debian's nghttp2-client), and what it measured."""

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
    """Of the time for a request, in microseconds."""
    p99: float
    cores: float
    """How much of a core h2load itself used."""


def require_h2load() -> None:
    """Ends the program if h2load is not there."""
    if not shutil.which("h2load"):
        sys.exit("h2load is needed: apt-get install nghttp2-client")


def grpc_body(request: Message, directory: Path) -> Path:
    """A file with `request` as one gRPC message."""
    data = request.SerializeToString()
    path = directory / f"{request.DESCRIPTOR.name}.bin"
    path.write_bytes(b"\0" + struct.pack(">I", len(data)) + data)
    return path


def h2load(url: str, *options: str, connections: int, streams: int = 1, seconds: float = 3.0) -> Load:
    """Loads `url` for so many seconds after one of warming up. Ends the program if an answer was not 2xx."""
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
        sys.exit(f"{url} did not answer as it should:\n{ran.stdout}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Load(
        rate=len(times) / seconds,
        p50=times[len(times) // 2],
        p99=times[len(times) * 99 // 100],
        cores=used / (seconds + 1),
    )
