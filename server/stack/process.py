"""One child process: started in a session of its own, its output passed on line by line, stopped by signals."""

import asyncio
import collections
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIG_BLOCK, SIG_SETMASK, SIGCONT, SIGINT, SIGKILL, Signals, pthread_sigmask

from server.stack import console
from server.stack.os_user import Account
from server.stack.settings import PROJECT_ROOT, StackError

_KEPT_LINES = 20
_LINE_BYTES = 4000
_LAUNCH = Path(__file__).with_name("launch.py")

ENDED_WELL = "exit code 0"
"""What `Process.wait` returns of a process that has ended in good order."""

# The processes that run, whoever started them: an impatient user's second Ctrl-C is for all of them.
running: "set[Process]" = set()


@dataclass(frozen=True)
class Command:
    """What to run and how to stop it.

    `stop` gives the signals to try in turn, each with the seconds the process then has to end; SIGKILL follows unsaid.
    The first of them is also what the kernel sends should the supervisor die. `account` is whom to run as, if another.
    """

    name: str
    arguments: Sequence[str | Path]
    environment: Mapping[str, str]
    stop: Sequence[tuple[Signals, float]]
    account: Account | None = None
    directory: Path = PROJECT_ROOT
    quiet: bool = False  # Its output is of interest only if it fails.


class Process:
    """A process that was started from a Command. Whoever starts one stops it or waits for its end."""

    def __init__(
        self, command: Command, process: asyncio.subprocess.Process, pipe: asyncio.ReadTransport, output: "_Output"
    ) -> None:
        self.command = command
        self._process = process
        self._pipe = pipe
        self._output = output

    @classmethod
    async def start(cls, command: Command) -> "Process":
        """Start the process. Raises StackError if the program cannot be run."""
        output = _Output(command.name, command.quiet)
        # The pipe is ours, not asyncio's: that one's wait() also waits for grandchildren that hold the pipe open.
        reader, writer = os.pipe()
        blocked = pthread_sigmask(SIG_BLOCK, {SIGINT})  # In the child, until launch.py is done.
        try:
            pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, os.fdopen(reader, "rb"))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), str(int(command.stop[0][0]))),
                *map(str, command.account or (-1, -1)),
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                cwd=command.directory,
                env=command.environment,
                start_new_session=True,  # A terminal's Ctrl-C is for the supervisor, which stops them in order.
            )
        except OSError as error:
            raise StackError(f"{command.name} cannot be started: {error}") from None
        finally:
            pthread_sigmask(SIG_SETMASK, blocked)
            os.close(writer)
        started = cls(command, process, pipe, output)
        running.add(started)
        return started

    @property
    def last_lines(self) -> Sequence[str]:
        """The last lines of output, at most 20, oldest first."""
        return self._output.last

    async def wait(self) -> str:
        """Wait until the process has ended; return how, as `exit code 1` or `killed by SIGKILL`."""
        code = await self._process.wait()
        running.discard(self)
        # What it wrote last is still in the pipe. Its own children may hold that open for longer than we can wait.
        await asyncio.wait({self._output.ended}, timeout=0.5)
        self._pipe.close()
        return f"killed by {Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def stop(self) -> None:
        """End the process, by ever stronger signals, and wait until it has ended. Does nothing if it had already."""
        for signal, seconds in (*self.command.stop, (SIGKILL, None)):
            self.send(signal)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.wait()
                    return

    def hurry(self) -> None:
        """Send the signal that `stop` keeps for a process that did not heed the first."""
        self.send((*(signal for signal, _ in self.command.stop), SIGKILL)[1])

    def send(self, signal: Signals) -> None:
        """Send a signal, and wake the process if it is stopped; does nothing if it has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal)
            self._process.send_signal(SIGCONT)


async def run_to_end(command: Command) -> None:
    """Run a command that ends by itself. Raises StackError, with its last line, unless it exits with 0."""
    process = await Process.start(command)
    try:
        end = await process.wait()
    finally:
        await process.stop()
    if end != "exit code 0":
        for line in process.last_lines if command.quiet else ():
            console.log(command.name, line)
        raise StackError(
            f"{command.name} failed ({end}): {process.last_lines[-1] if process.last_lines else 'no output'}"
        )


class _Output(asyncio.Protocol):
    """Passes on each line of a child's output and keeps the last few."""

    def __init__(self, name: str, quiet: bool) -> None:
        self._name = name
        self._quiet = quiet
        self._rest = b""
        self.last: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:_LINE_BYTES]  # The rest of an overlong line is dropped: memory stays bounded.
        for line in lines:
            self._pass_on(line)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest:
            self._pass_on(self._rest)
        self.ended.set_result(None)

    def _pass_on(self, line: bytes) -> None:
        text = line[:_LINE_BYTES].decode(errors="replace").rstrip("\r")
        self.last.append(text)
        if not self._quiet:
            console.log(self._name, text)
