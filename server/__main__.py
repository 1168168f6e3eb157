"""`python -m server`: run one server process until SIGTERM or Ctrl-C."""

import gc
import os
import signal

# Most of what the imports below make stays: to look for garbage in it would take a tenth of their time.
gc.disable()

# The imports below take a while. Until they are done there is nothing to stop, and a Ctrl-C just ends the process.
for _number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(_number, lambda *_: os._exit(0))

import argparse
import asyncio
import logging
import sys

from server import event_loop, logs, open_files
from server.app import SERVICES, Application, create_server
from server.broken_pipe import tolerate_broken_pipe
from server.check import ERROR, Finding, find
from server.settings import Settings, read_settings
from server.variables import ConfigurationError
from server.version import PACKAGE, find_version
from server.waiting import wait_for_database
from storage import DatabaseUnavailable

log = logging.getLogger("server")

GRACE_SECONDS = 10.0
"""How long calls in flight may continue after a signal."""


async def serve(settings: Settings) -> None:
    """Run a server until the process gets SIGTERM or SIGINT.

    Raises:
        ConfigurationError: as `create_server` does.
    """
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    loop.add_signal_handler(signal.SIGHUP, log.info, "SIGHUP: certificates and keys are read again without it")
    starting = loop.create_task(_create_when_possible(settings))
    stopping = loop.create_task(signals.get())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return
    application = starting.result()
    await application.start()
    # What start-up created stays, so the garbage collector need not look at it again.
    gc.collect()
    gc.freeze()
    # A Ctrl-C, or a supervisor that stops Envoy as well, does not wait for a load balancer.
    notice = settings.drain_notice if await stopping == signal.SIGTERM else 0
    await application.stop(GRACE_SECONDS, notice)


async def _create_when_possible(settings: Settings) -> Application:
    """Return a server as `create_server` does, once the database can be reached."""
    while True:
        try:
            return await create_server(settings)
        except DatabaseUnavailable as error:
            await wait_for_database(settings, str(error) or "it is unavailable")


def main() -> int:
    """Read the settings, run the server, and return the exit status."""
    gc.enable()
    parser = argparse.ArgumentParser(
        prog="python -m server",
        description="Run a worker: one server process, until SIGTERM or Ctrl-C.",
        epilog="Environment variables configure it, of which DATABASE_URL must be set: see docs/operations.md.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{PACKAGE} {find_version()}")
    parser.add_argument(
        "command", nargs="?", choices=["check"], help="say what is wrong with this deployment, and run nothing"
    )
    command = parser.parse_args().command
    try:
        settings = read_settings()
        if command == "check":
            return print_findings(settings)
        logs.configure(settings.log_level)
        settings = _limit_connections(settings)
        event_loop.run(serve(settings))
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def print_findings(settings: Settings) -> int:
    """Print what `server.check` finds, and return 0, or 1 if something keeps the service from working."""
    found: dict[Finding, None] = {}
    with tolerate_broken_pipe():
        for finding in find(settings, SERVICES):
            if finding not in found:  # One fault may stand in the way of two things.
                print(f"{finding.level:<7}  {finding.text}", flush=True)
            found[finding] = None
    return int(any(finding.level == ERROR for finding in found))


def _limit_connections(settings: Settings) -> Settings:
    """Raise the limit on open files, and return `settings` with no more connections than it allows."""
    files = open_files.raise_limit()
    connections = open_files.limit_connections(files)
    if connections < settings.max_connections:
        log.warning(
            "the limit on open files allows few connections", extra={"open_files": files, "connections": connections}
        )
    return settings._replace(max_connections=connections)


if __name__ == "__main__":
    status = main()
    sys.stderr.flush()
    logging.shutdown()
    # Without waiting for threads: one may be blocked by a database that hangs.
    os._exit(status)
