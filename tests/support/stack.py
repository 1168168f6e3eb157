"""The whole stack as a process, as `make run` starts it."""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tests.support.processes import ROOT
from tests.support.processes import environment as environment_without_ours

T = TypeVar("T")
WORKERS = 2
PORTS = ("HTTP_PORT", "GRPC_PORT", "ENVOY_ADMIN_PORT")
SEARCH = "/api/v1/lead_analytics/search?customer_id=c&user_id=u&lead_id=l&recording_id=r"
EVENT = b'{"customer_id":"c","user_id":"u","lead_id":"l","recording_id":"r","event_type":"view"}'


def free_ports() -> dict[str, str]:
    """Ports for a stack, with some to spare after GRPC_PORT for its workers."""
    while True:
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(2 + WORKERS)]
            for one in sockets[:3]:
                one.bind(("127.0.0.1", 0))
            http, admin, grpc = (int(one.getsockname()[1]) for one in sockets[:3])
            with contextlib.suppress(OSError, OverflowError):
                for number, one in enumerate(sockets[3:], 1):
                    one.bind(("127.0.0.1", grpc + number))
                return {"HTTP_PORT": str(http), "GRPC_PORT": str(grpc), "ENVOY_ADMIN_PORT": str(admin)}


def until(ask: Callable[[], T], seconds: float = 30.0) -> T:
    """The first answer that is not falsy."""
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return answer


class Stack:
    """A `python -m server.stack` of its own ports, with its data and its output in `directory`."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.data = directory / "data"
        self._output, self._log = directory / "out", directory / "log"
        self.environment = {**free_ports(), "WORKERS": str(WORKERS), "DATA_DIR": str(self.data), **environment}
        self._log.unlink(missing_ok=True)
        self.start()

    def start(self) -> None:
        """Starts it (again). The log goes on where that of the one before it ended."""
        with self._output.open("w") as output, self._log.open("a") as log:
            command = [sys.executable, "-m", "server.stack"]
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=log, env=environment_without_ours(**self.environment)
            )

    @property
    def http_port(self) -> int:
        """Where Envoy listens."""
        return int(self.environment["HTTP_PORT"])

    @property
    def grpc_port(self) -> int:
        """Where the server listens."""
        return int(self.environment["GRPC_PORT"])

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def database_url(self) -> str:
        (url,) = shlex.split(re.findall(r"DATABASE_URL +(.+)", self.output)[0])
        return url

    def wait_until_up(self) -> "Stack":
        until(lambda: "Ctrl-C" in self.output or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        return self

    def wait_for_end(self, seconds: float = 30.0) -> int:
        return self.process.wait(seconds)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.wait_for_end()

    def request(self, path: str, body: bytes | None = None) -> int:
        """The status that Envoy answers; 0 if it does not."""
        url = f"http://127.0.0.1:{self.environment['HTTP_PORT']}{path}"
        request = urllib.request.Request(url, body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def serves(self) -> bool:
        return self.request(SEARCH) == 200

    def processes(self) -> dict[int, str]:
        """What runs on behalf of this stack, by its number: whatever has the data directory in its surroundings."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                surroundings = (process / "environ").read_bytes() + os.fsencode((process / "cwd").readlink())
                if os.fsencode(self.data) in surroundings:
                    found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def numbers_of(self, part: str) -> list[int]:
        """The process numbers of a part, of "server-1" those of all workers."""
        sign = {"postgres": "bin/postgres -D", "server-1": "-m server ", "envoy": "_bin/envoy "}[part]
        return sorted(number for number, command in self.processes().items() if sign in command)

    def is_whole(self) -> bool:
        """Whether all of its parts run."""
        return all(self.numbers_of(part) for part in ("postgres", "envoy")) and len(self.numbers_of("server-1")) == int(
            self.environment["WORKERS"]
        )

    def number_of(self, part: str) -> int:
        """The process number of a part, 0 if it does not run; of several workers, that of the first."""
        return min(self.numbers_of(part), default=0)


@contextlib.contextmanager
def running(directory: Path, **environment: str) -> Iterator[Stack]:
    directory.mkdir(exist_ok=True)
    stack = Stack(directory, **environment)
    try:
        yield stack
        assert "Traceback" not in stack.log
    finally:
        stack.process.kill()
        stack.process.wait()
        until(lambda: not stack.processes())
