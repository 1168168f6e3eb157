"""An embedded PostgreSQL of a test's own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.stack.postgres import prepare_postgres
from server.stack.supervised_process import SupervisedProcess


@contextlib.contextmanager
def running_postgres(directory: Path) -> Iterator[str]:
    """Run a PostgreSQL with its data in `directory`, where it stays, and yield the URL of its database.

    The database is empty at first. PostgreSQL logs to standard error.

    Raises:
        StackError: PostgreSQL does not start.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="postgres")
    thread.start()
    try:
        cleanup = contextlib.AsyncExitStack()
        started = asyncio.run_coroutine_threadsafe(_start(directory.absolute(), cleanup), loop)
        try:
            yield started.result()
        finally:
            asyncio.run_coroutine_threadsafe(cleanup.aclose(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _start(directory: Path, cleanup: contextlib.AsyncExitStack) -> str:
    """Start PostgreSQL, to be stopped by `cleanup`, and return the URL of its database once it is ready."""
    process, url = await prepare_postgres(directory, cleanup)
    cleanup.push_async_callback(process.stop)
    await _wait_until_ready(process)
    return url


async def _wait_until_ready(process: SupervisedProcess) -> None:
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    process.start(failed.set_exception)
    ready = asyncio.ensure_future(process.ready.wait())
    either: set[asyncio.Future[Any]] = {ready, failed}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if failed.done():
        failed.result()
