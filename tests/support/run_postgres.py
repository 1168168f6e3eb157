"""`python -m tests.support.run_postgres DIRECTORY`: runs an embedded PostgreSQL until standard input ends.

Prints the URL of its database, as the owner, once it is ready.
"""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from server.stack.data_dir import prepare_data_dir
from server.stack.os_user import leave_root
from server.stack.postgres import prepare_postgres
from server.stack.run_directory import make_run_directory
from server.stack.supervised_process import SupervisedProcess


async def run(directory: Path) -> None:
    """Run PostgreSQL with its data in `directory`."""
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with contextlib.AsyncExitStack() as cleanup:
        prepare_data_dir(directory)
        process, urls = await prepare_postgres(directory, make_run_directory(directory, cleanup))
        cleanup.push_async_callback(process.stop)
        process.start(failed.set_exception)
        work = asyncio.ensure_future(_print_when_ready(process, urls.owner))
        either: set[asyncio.Future[None]] = {work, failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
    if failed.done():
        failed.result()


async def _print_when_ready(process: SupervisedProcess, url: str) -> None:
    """Print `url` once PostgreSQL is ready, and wait for the end of standard input."""
    await process.ready.wait()
    print(url, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    if os.geteuid() == 0:
        leave_root(Path(sys.argv[1]))
    # Ctrl-C ends the tests, which then close standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(run(Path(sys.argv[1])))
