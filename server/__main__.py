"""Runs one server process: `python -m server`. Stops on SIGTERM or Ctrl-C."""

import os
import signal

# Until there is something to stop, a Ctrl-C need only be quiet. The imports below take a while.
for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, lambda *_: os._exit(0))

import asyncio
import gc
import sys

from server import event_loop, logs
from server.app import create_server
from server.settings import ConfigurationError, Settings, read_settings
from storage import DatabaseUnavailable

GRACE_SECONDS = 10.0
"""How long calls in flight may go on after a signal."""


async def serve(settings: Settings) -> None:
    """Runs a server until the process is told to stop.

    Raises:
        DatabaseUnavailable, ConfigurationError: as `create_server` does.
    """
    told: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.put_nowait, number)
    application = await create_server(settings)
    await application.start()
    # What start-up made stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    # Whoever presses Ctrl-C, or stops what is in front of the server too, does not want to wait for a load balancer.
    notice = settings.drain_notice if await told.get() == signal.SIGTERM else 0
    await application.stop(GRACE_SECONDS, notice)


def main() -> int:
    """Reads the settings, runs the server, and returns the exit status."""
    try:
        settings = read_settings()
        logs.configure(settings.log_level)
        event_loop.run(serve(settings))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    except DatabaseUnavailable as error:
        print(f"DATABASE_URL: the database cannot be reached: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    # At once: a thread that waits for a database that hangs must not hold up the end of the process.
    os._exit(status)
