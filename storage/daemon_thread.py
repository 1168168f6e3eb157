"""Blocking calls kept off the event loop, in threads that cannot keep the process alive."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


async def run_in_daemon_thread(function: Callable[[], T], name: str) -> T:
    """Return what `function` returns, or raise what it raises, after running it in a daemon thread.

    asyncio.to_thread would wait for the thread at exit, and a call to a database that hangs may never return.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # Now the thread may set a result even if the awaiting task is cancelled.

    def run() -> None:
        try:
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001 - raised again in the awaiting task
            done.set_exception(error)

    Thread(target=run, name=name, daemon=True).start()
    return await asyncio.wrap_future(done)
