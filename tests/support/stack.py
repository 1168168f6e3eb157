"""The whole stack as a process, started as `make run` starts it."""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from server.stack.envoy_admin import EnvoyAdmin
from server.stack.run_directory import find_run_directory
from tests.support.postgres import make_passable
from tests.support.processes import ROOT, free_port
from tests.support.processes import environment as environment_without_ours
from tests.support.until import until

WORKERS = 2
PORTS = ("HTTP_PORT", "GRPC_PORT", "METRICS_PORT")
SEARCH = "/api/v1/lead_analytics/search?customer_id=c&user_id=u&lead_id=l&recording_id=r"
EVENT = b'{"customer_id":"c","user_id":"u","lead_id":"l","recording_id":"r","event_type":"view"}'


def free_ports() -> dict[str, str]:
    """Return free ports for a stack; two after GRPC_PORT are free too, for its other workers."""
    first = free_port(following=4)
    return {"HTTP_PORT": str(first), "GRPC_PORT": str(first + 1), "METRICS_PORT": str(first + 4)}


class Stack:
    """A `python -m server.stack` on ports of its own, with its data and output in `directory`.

    The shell that starts it first executes `shell`, such as `umask 077`.
    """

    def __init__(self, directory: Path, shell: str = ":", **environment: str) -> None:
        self._shell = shell
        self.data = directory / "data"
        self._output, self._log = directory / "out", directory / "log"
        self.environment = {**free_ports(), "WORKERS": str(WORKERS), "DATA_DIR": str(self.data), **environment}
        self._log.unlink(missing_ok=True)
        self.start()

    def start(self) -> None:
        """Start the stack, or start it again. The log is continued."""
        with self._output.open("w") as output, self._log.open("a") as log:
            command = ["bash", "-c", f'{self._shell}; exec "$@"', "bash", sys.executable, "-m", "server.stack"]
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=output, stderr=log, env=environment_without_ours(**self.environment)
            )

    @property
    def http_port(self) -> int:
        """The port that Envoy listens on."""
        return int(self.environment["HTTP_PORT"])

    @property
    def grpc_port(self) -> int:
        """The port that the first worker listens on."""
        return int(self.environment["GRPC_PORT"])

    @property
    def grpc_ports(self) -> list[int]:
        """The ports that the workers listen on."""
        return [self.grpc_port + worker for worker in range(int(self.environment["WORKERS"]))]

    @property
    def metrics_port(self) -> int:
        """The port on which Envoy shows the metrics."""
        return int(self.environment["METRICS_PORT"])

    @property
    def output(self) -> str:
        """What the stack wrote to standard output."""
        return self._output.read_text()

    @property
    def log(self) -> str:
        """What the stack wrote to standard error."""
        return self._log.read_text()

    @property
    def database_url(self) -> str:
        """The database as its owner, who may do anything in it."""
        return self._printed("OWNER_DATABASE_URL")

    @property
    def server_database_url(self) -> str:
        """The database as the role of the workers."""
        return self._printed("DATABASE_URL")

    @property
    def run(self) -> Path:
        """The directory of its Unix sockets."""
        return find_run_directory(self.data)

    @property
    def admin(self) -> EnvoyAdmin:
        """Envoy's admin interface."""
        return EnvoyAdmin(self.run / "envoy.sock")

    def _printed(self, name: str) -> str:
        """Return a line of the banner. Where the owner's is not printed, there is one role for everything."""
        urls = re.findall(rf"^  {name} +(.+)$", self.output, re.MULTILINE)
        (url,) = shlex.split(urls[0]) if urls else (self.server_database_url,)
        return url

    def wait_until_up(self) -> "Stack":
        """Wait until the stack has printed its banner."""
        until(lambda: "Ctrl-C" in self.output or self.process.poll() is not None)
        assert self.process.poll() is None, self.log
        return self

    def wait_for_end(self, seconds: float = 30.0) -> int:
        """Wait until the stack has ended, and return its exit status."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """Stop the stack by SIGTERM, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_for_end()

    def request(self, path: str, body: bytes | None = None) -> int:
        """Send a request to Envoy, and return the status of the response, or 0 if there is none."""
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

    def ask_envoy(self, path: str) -> str:
        """Return a page of Envoy's admin interface."""
        return self.admin.read(path)

    def serves(self) -> bool:
        """Return whether a search succeeds."""
        return self.request(SEARCH) == 200

    def processes(self) -> dict[int, str]:
        """Return the command line of each process of this stack, by PID.

        A process belongs to it if its environment or its working directory names the data directory.
        """
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                names = (process / "environ").read_bytes() + os.fsencode((process / "cwd").readlink())
                if os.fsencode(self.data) in names:
                    found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def numbers_of(self, part: str) -> list[int]:
        """Return the PIDs of "postgres" (its postmaster), of "envoy", or, for "server-1", of all workers."""
        sign = {"postgres": "bin/postgres -D", "server-1": "-m server ", "envoy": "_bin/envoy "}[part]
        return sorted(number for number, command in self.processes().items() if sign in command)

    def is_whole(self) -> bool:
        """Return whether all processes of the stack run."""
        parts = ["envoy"] if "DATABASE_URL" in self.environment else ["envoy", "postgres"]
        workers = int(self.environment["WORKERS"])
        return all(map(self.numbers_of, parts)) and len(self.numbers_of("server-1")) == workers

    def number_of(self, part: str) -> int:
        """Return the PID of "postgres", "envoy" or "server-1" (the first worker), or 0 if it does not run."""
        pids = self.numbers_of(part)
        if part == "server-1":
            pids = [pid for pid in pids if _has_variable(pid, f"GRPC_PORT={self.grpc_port}")]
        return min(pids, default=0)


def _has_variable(pid: int, assignment: str) -> bool:
    try:
        return assignment.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # The process has ended.


@contextlib.contextmanager
def running(directory: Path, shell: str = ":", **environment: str) -> Iterator[Stack]:
    """Run a stack with its files in `directory`. At the end, kill it and wait until none of its processes is left."""
    directory.mkdir(exist_ok=True)
    make_passable(directory)
    stack = Stack(directory, shell, **environment)
    try:
        yield stack
        assert "Traceback" not in stack.log
    finally:
        stack.process.kill()
        stack.process.wait()
        until(lambda: not stack.processes())
        if stack.run.parent != stack.data:  # In /tmp, what a stack that was killed has left would stay.
            shutil.rmtree(stack.run, ignore_errors=True)
