"""A watchdog for an event loop in another thread: how long it was held at the most, and by what."""

import asyncio
import gc
import sys
import threading
import time
import traceback
from types import TracebackType

_SAMPLE_SECONDS = 0.005
_PAUSE_SECONDS = 0.0005


class Watchdog:
    """A context manager that watches the turns of an event loop while the block runs.

    It counts the processor time of the loop's thread, in seconds: how busy the machine is makes no difference.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = 0
        self._started = 0.0
        self._samples: list[str] = []
        self._running = True
        self._sampler = threading.Thread(target=self._sample, name="watchdog")
        self.longest = 0.0
        """The longest turn."""
        self.culprit = ""
        """Where the loop was seen during it: a stack for each sample."""

    def __enter__(self) -> "Watchdog":
        # It would look through all the objects of the tests, which a server does not have.
        gc.disable()
        self._loop.call_soon_threadsafe(self._begin)
        self._sampler.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._running = False
        self._sampler.join()
        gc.enable()

    def _begin(self) -> None:
        self._thread = threading.get_ident()
        self._started = time.thread_time()
        self._loop.call_soon(self._on_turn)

    def _on_turn(self) -> None:
        now = time.thread_time()
        samples, self._samples = self._samples, []
        if now - self._started > self.longest:
            self.longest, self.culprit = now - self._started, "\n".join(samples)
        if self._running:
            time.sleep(_PAUSE_SECONDS)  # Takes no processor time, and lets the other threads have the interpreter.
            self._started = time.thread_time()
            self._loop.call_soon(self._on_turn)

    def _sample(self) -> None:
        while self._running:
            time.sleep(_SAMPLE_SECONDS)
            if frame := sys._current_frames().get(self._thread):
                self._samples.append("".join(traceback.format_stack(frame)[-6:]))
            del frame
