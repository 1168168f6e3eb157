"""A child process that is restarted whenever it dies, with a growing backoff, until it dies too often."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from server.stack import console
from server.stack.child_process import CLEAN_EXIT, ChildProcess, Command
from server.stack.settings import StackError

_STABLE_SECONDS = 5.0  # Once a process has been ready for this long, its earlier deaths no longer count.
_MAX_DEATHS = 5
_FIRST_BACKOFF_SECONDS = 0.1  # Doubles with each death.
_PROBE_INTERVAL_SECONDS = 0.05
_QUIET_SECONDS = 3.0  # A start that takes longer is explained in the log.


async def do_nothing() -> None:
    """Do nothing: the default for `drain` and `clean_up`."""


class SupervisedProcess:
    """Keeps one child process running."""

    def __init__(
        self,
        command: Command,
        probe: Callable[[], str | None],
        *,
        dependencies: Sequence["SupervisedProcess"] = (),
        startup_seconds: float = 30.0,
        drain: Callable[[], Awaitable[None]] = do_nothing,
        clean_up: Callable[[], Awaitable[None]] = do_nothing,
    ) -> None:
        """Prepare to run `command`; nothing is started yet.

        Args:
            command: What to run.
            probe: The readiness probe: returns why the process does not do its work yet, or None if it does. Runs in a
                thread, repeatedly, and may block for a few seconds.
            dependencies: The processes that have to be ready before this one starts.
            startup_seconds: A process that is not ready within this time counts as dead.
            drain: Awaited before a process that is ready is stopped.
            clean_up: Awaited before each start and after the last stop.
        """
        self.name = command.name
        self.ready = asyncio.Event()
        """Set while the process is ready."""
        self._command = command
        self._probe = probe
        self._dependencies = dependencies
        self._startup_seconds = startup_seconds
        self._drain = drain
        self._clean_up = clean_up
        self._child: ChildProcess | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._fault: str | None = None  # What the last probe returned.

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Start the process, and restart it whenever it dies.

        Args:
            on_failure: Called with the error that ends supervision: a StackError if the process dies too often or
                cannot be started.
        """

        def report(supervision: asyncio.Task[None]) -> None:
            if not supervision.cancelled() and (error := supervision.exception()):
                on_failure(error)

        self._supervision = asyncio.create_task(self._supervise())
        self._supervision.add_done_callback(report)

    async def stop_supervising(self) -> None:
        """Stop restarting the process. It keeps running."""
        if self._supervision:
            self._supervision.cancel()
            await asyncio.wait({self._supervision})

    async def stop(self) -> None:
        """Stop the process, after draining it if it is ready, and wait until it has ended."""
        await self.stop_supervising()
        if self._child:
            try:
                if self.ready.is_set():
                    await self._drain()
            finally:
                await self._child.stop(is_ready=self.ready.is_set())
                await self._clean_up()

    async def _supervise(self) -> None:
        deaths = 0
        is_restart = False
        while True:
            for dependency in self._dependencies:
                await dependency.ready.wait()
            await self._clean_up()
            self._child = await ChildProcess.start(self._command)
            end, ready_seconds = await self._watch(self._child, is_restart=is_restart)
            is_restart = True
            self.ready.clear()
            if ready_seconds and end == CLEAN_EXIT:  # Someone stopped it so that it would be restarted.
                console.log("stack", f"{self.name} exited; restarting it")
                continue
            deaths = 1 if ready_seconds >= _STABLE_SECONDS else deaths + 1
            lines = self._child.last_lines
            if deaths == _MAX_DEATHS:
                raise StackError(
                    f"{self.name} died ({end}), {deaths} times in a row without being ready for "
                    f"{_STABLE_SECONDS:.0f} s; its last line of output: {lines[-1] if lines else 'none'}"
                )
            backoff = _FIRST_BACKOFF_SECONDS * 2 ** (deaths - 1)
            console.log("stack", f"{self.name} died ({end}); restarting it in {backoff:.1f} s")
            if lines:
                console.log("stack", f"the last lines of output of {self.name}:")
            for line in lines:
                console.log("stack", f"    {line}")
            await asyncio.sleep(backoff)

    async def _watch(self, child: ChildProcess, *, is_restart: bool) -> tuple[str, float]:
        """Wait until `child` has ended; return how, and for how many seconds it was ready."""
        ended = asyncio.create_task(child.wait())
        became_ready = asyncio.create_task(self._wait_until_ready())
        try:
            await asyncio.wait(
                {ended, became_ready}, timeout=self._startup_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if ended.done():
                return ended.result(), 0.0
            if not became_ready.done():
                await child.stop(is_ready=False)
                reason = f": {self._fault}" if self._fault else ""
                return f"not ready within {self._startup_seconds:g} s{reason}; {await ended}", 0.0
            became_ready.result()
            self.ready.set()
            if is_restart:
                console.log("stack", f"{self.name} is ready again")
            since = time.monotonic()
            return await ended, time.monotonic() - since
        finally:
            ended.cancel()
            became_ready.cancel()

    async def _wait_until_ready(self) -> None:
        since = time.monotonic()
        logged = self._fault = None
        while (fault := await asyncio.to_thread(self._probe)) is not None:
            self._fault = fault
            if fault != logged and time.monotonic() - since > _QUIET_SECONDS:
                console.log("stack", f"{self.name} is not ready: {fault}")
                logged = fault
            await asyncio.sleep(_PROBE_INTERVAL_SECONDS)
