"""One part of the stack: a child process that is started again whenever it dies, until it dies too often."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from server.stack import console
from server.stack.process import ENDED_WELL, Command, Process
from server.stack.settings import StackError

_SETTLED_SECONDS = 5.0  # A part that has been ready for this long is well: its earlier deaths are forgiven.
_DEATHS_ALLOWED = 5
_FIRST_PAUSE_SECONDS = 0.1  # Before it is started again; doubled at each death.
_POLL_SECONDS = 0.05


async def nothing() -> None:
    """Do nothing: for a part that has nothing to drain or to clear."""


class Part:
    """Keeps one child process running.

    `is_ready` tells whether the child does its work; it is called in a thread, again and again, and may block for a
    few seconds. A child that is not ready within `patience` seconds counts as dead.
    `needs` are the parts that have to be ready before this one is started.
    `drain` is awaited before the child is stopped, `clear` before each start and after the end.
    """

    def __init__(
        self,
        command: Command,
        is_ready: Callable[[], bool],
        *,
        needs: Sequence["Part"] = (),
        patience: float = 30.0,
        drain: Callable[[], Awaitable[None]] = nothing,
        clear: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        self.name = command.name
        self.ready = asyncio.Event()
        self._command = command
        self._is_ready = is_ready
        self._needs = needs
        self._patience = patience
        self._drain = drain
        self._clear = clear
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    def start(self, gave_up: Callable[[BaseException], None]) -> None:
        """Start the child, and again whenever it dies; `self.ready` is set while it is ready.

        `gave_up` is called with a StackError once it has died too often or cannot be started at all.
        """

        def ended(keeper: asyncio.Task[None]) -> None:
            if not keeper.cancelled() and (error := keeper.exception()):
                gave_up(error)

        self._keeper = asyncio.create_task(self._keep_running())
        self._keeper.add_done_callback(ended)

    async def leave_alone(self) -> None:
        """From now on let the child be dead if it dies."""
        if self._keeper:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})

    async def stop(self) -> None:
        """End the child, in good order if it can, and wait until it has ended."""
        await self.leave_alone()
        if self._process:
            if self.ready.is_set():
                await self._drain()
            await self._process.stop()
            await self._clear()

    async def _keep_running(self) -> None:
        deaths = 0
        while True:
            for part in self._needs:
                await part.ready.wait()
            await self._clear()
            self._process = await Process.start(self._command)
            end, seconds = await self._live(self._process)
            self.ready.clear()
            if seconds and end == ENDED_WELL:  # Somebody has told it to, for it to be started again.
                console.log("stack", f"{self.name} ended; starting it again")
                continue
            deaths = 1 if seconds >= _SETTLED_SECONDS else deaths + 1
            lines = self._process.last_lines
            if deaths == _DEATHS_ALLOWED:
                raise StackError(
                    f"{self.name} died ({end}), {deaths} times without staying up for {_SETTLED_SECONDS:.0f} s; "
                    f"the last it said: {lines[-1] if lines else 'nothing'}"
                )
            pause = _FIRST_PAUSE_SECONDS * 2 ** (deaths - 1)
            console.log("stack", f"{self.name} died ({end}); starting it again in {pause:.1f} s. Its last lines:")
            for line in lines:
                console.log("stack", f"    {line}")
            await asyncio.sleep(pause)

    async def _live(self, process: Process) -> tuple[str, float]:
        """See a child from its start to its end; return how it ended and for how many seconds it was ready."""
        ended = asyncio.create_task(process.wait())
        became_ready = asyncio.create_task(self._become_ready())
        try:
            await asyncio.wait({ended, became_ready}, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return ended.result(), 0.0
            if not became_ready.done():
                await process.stop()
                return f"not ready within {self._patience:.0f} s, {await ended}", 0.0
            became_ready.result()
            self.ready.set()
            since = time.monotonic()
            return await ended, time.monotonic() - since
        finally:
            ended.cancel()
            became_ready.cancel()

    async def _become_ready(self) -> None:
        while not await asyncio.to_thread(self._is_ready):  # noqa: ASYNC110 - another process has no Event to wait for
            await asyncio.sleep(_POLL_SECONDS)
