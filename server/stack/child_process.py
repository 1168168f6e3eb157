"""A child process: starts in a session of its own, has its output logged line by line, and is stopped by signals."""

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
from server.stack.settings import FILES, StackError

_LAST_LINES = 20
_MAX_LINE_BYTES = 4000
_LAUNCH = Path(__file__).with_name("launch.py")

CLEAN_EXIT = "exit code 0"
"""What `ChildProcess.wait` returns for a process that succeeded."""

# All live child processes, for `escalate_all`.
_live: "set[ChildProcess]" = set()


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run, and how to stop it."""

    name: str
    """What log lines call it."""
    arguments: Sequence[str | Path]
    environment: Mapping[str, str]
    stop_signals: Sequence[tuple[Signals, float]]
    """The signals that stop it, in order, each with the seconds to wait before the next one. SIGKILL comes last and is
    not listed. If the supervisor dies, the kernel sends the first of them."""
    startup_stop_signal: Signals | None = None
    """Replaces the first of them until the process is ready."""
    working_directory: Path = FILES
    quiet: bool = False
    """Whether to log its output only if it fails. Applies to `run_to_end`."""


class ChildProcess:
    """A process started from a Command. Its creator must stop it or wait for its end."""

    def __init__(
        self, command: Command, process: asyncio.subprocess.Process, pipe: asyncio.ReadTransport, output: "_Output"
    ) -> None:
        self._command = command
        self._process = process
        self._pipe = pipe
        self._output = output

    @classmethod
    async def start(cls, command: Command) -> "ChildProcess":
        """Start the process. Raises StackError if the program cannot be run."""
        output = _Output(command.name, command.quiet)
        # asyncio's own pipe will not do: with it, wait() also waits for grandchildren that hold the pipe open.
        reader, writer = os.pipe()
        blocked = pthread_sigmask(SIG_BLOCK, {SIGINT})  # The child inherits this; launch.py unblocks it.
        try:
            pipe, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: output, os.fdopen(reader, "rb"))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _LAUNCH, str(os.getpid()), str(int(command.stop_signals[0][0]))),
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                cwd=command.working_directory,
                env=command.environment,
                # A terminal's Ctrl-C then reaches only the supervisor, which stops its children in order.
                start_new_session=True,
            )
        except OSError as error:
            raise StackError(f"{command.name} cannot be started: {error}") from None
        finally:
            pthread_sigmask(SIG_SETMASK, blocked)
            os.close(writer)
        started = cls(command, process, pipe, output)
        _live.add(started)
        return started

    @property
    def last_lines(self) -> Sequence[str]:
        """The last lines of output, 20 at most, oldest first."""
        return self._output.last_lines

    async def wait(self) -> str:
        """Wait until the process has ended, and return how: `exit code 1`, `killed by SIGKILL`."""
        code = await self._process.wait()
        _live.discard(self)
        # The pipe still holds the last output. A grandchild may keep the pipe open for long, so this wait is short.
        await asyncio.wait({self._output.ended}, timeout=0.5)
        self._pipe.close()
        return f"killed by {Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def stop(self, *, is_ready: bool = True) -> None:
        """Send the stop signals, one after the other, until the process has ended. Do nothing if it already has."""
        (first, first_seconds), *others = self._command.stop_signals
        if not is_ready:
            first = self._command.startup_stop_signal or first
        for signal, seconds in ((first, first_seconds), *others, (SIGKILL, None)):
            self._send_signal(signal)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self.wait()
                    return

    def escalate(self) -> None:
        """Send the second stop signal at once."""
        self._send_signal((*(signal for signal, _ in self._command.stop_signals), SIGKILL)[1])

    def _send_signal(self, signal: Signals) -> None:
        with contextlib.suppress(ProcessLookupError):  # The process has ended.
            # A process that is stopped by SIGSTOP would not act on the signal. SIGCONT comes first: a second
            # `send_signal` would reap a process that the first has ended, and asyncio would miss its exit status.
            self._process.send_signal(SIGCONT)
            self._process.send_signal(signal)


def escalate_all() -> None:
    """Send each live child process its second stop signal at once."""
    for child in _live:
        child.escalate()


async def run_to_end(command: Command) -> None:
    """Run a command that ends by itself. Raises StackError, with its last line of output, if it fails."""
    child = await ChildProcess.start(command)
    try:
        end = await child.wait()
    finally:
        await child.stop()
    if end != CLEAN_EXIT:
        for line in child.last_lines if command.quiet else ():
            console.log(command.name, line)
        raise StackError(f"{command.name} failed ({end}): {child.last_lines[-1] if child.last_lines else 'no output'}")


class _Output(asyncio.Protocol):
    """Logs each line of a child's output and keeps the last few."""

    def __init__(self, name: str, quiet: bool) -> None:
        self._name = name
        self._quiet = quiet
        self._partial_line = b""
        self.last_lines: collections.deque[str] = collections.deque(maxlen=_LAST_LINES)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._partial_line + data).split(b"\n")
        self._partial_line = rest[:_MAX_LINE_BYTES]  # Cuts an overlong line, to bound the memory.
        for line in lines:
            self._add_line(line)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._partial_line:
            self._add_line(self._partial_line)
        self.ended.set_result(None)

    def _add_line(self, line: bytes) -> None:
        text = line[:_MAX_LINE_BYTES].decode(errors="replace").rstrip("\r")
        self.last_lines.append(text)
        if not self._quiet:
            console.log(self._name, text)
