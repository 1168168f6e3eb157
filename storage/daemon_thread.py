"""Blocking calls kept off the event loop, in threads that cannot keep the process alive."""

import asyncio
import contextlib
from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(function: Callable[[], T], name: str) -> T:
    """Return what `function` returns, or raise what it raises, after running it in a daemon thread.

    asyncio.to_thread would wait for the thread at exit, and a call to a database that hangs may never return.

    The names are let go of, because the traceback of an error holds its frames: the error, and with it the caller's
    frame and all its data, would stay until a garbage collection.
    """
    loop = asyncio.get_running_loop()

    def run(done: Any) -> None:
        result = error = None
        try:
            result = function()
        except BaseException as raised:  # noqa: BLE001 - raised again in the awaiting task
            error = raised
        with contextlib.suppress(RuntimeError):  # The loop is closed, so nobody waits.
            loop.call_soon_threadsafe(_settle, done, result, error)
        done = result = error = None

    done: asyncio.Future[T] | None = loop.create_future()
    Thread(target=run, args=(done,), name=name, daemon=True).start()
    try:
        assert done is not None
        return await done
    finally:
        done = None


def _settle(done: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if done.done():  # The awaiting task was cancelled.
        return
    if error is None:
        done.set_result(result)
    else:
        done.set_exception(error)
