"""Starts the whole stack in order, supervises it, and stops it in order."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys

from server import open_files
from server.access.switch import is_auth_on
from server.auth_settings import check_open_address, make_provider
from server.schema_check import check_schema
from server.settings import TLS_VARIABLES
from server.stack import console
from server.stack.banner import format_banner
from server.stack.child_process import Command, escalate_all, run_to_end
from server.stack.data_dir import locked_data_dir, prepare_data_dir
from server.stack.envoy import make_envoy
from server.stack.envoy_tls import EnvoyTls
from server.stack.postgres import prepare_postgres
from server.stack.preflight import check_database, check_ports, check_tls
from server.stack.run_directory import make_run_directory
from server.stack.settings import FILES, StackError, StackSettings
from server.stack.supervised_process import SupervisedProcess
from server.stack.workers import make_workers
from server.transport.options import MAX_CONNECTIONS
from storage import DatabaseUnavailable
from storage.privileges import SERVER_ROLE


class Supervisor:
    """One run of the stack."""

    def __init__(self, settings: StackSettings) -> None:
        self._settings = settings
        self._processes: list[SupervisedProcess] = []  # In the order of their start.
        self._failure: BaseException | None = None
        self._stopping = False

    async def run(self) -> None:
        """Run the stack until SIGINT, SIGTERM or SIGHUP. A second signal stops it without waiting for calls in flight.

        No process is left running, whether this returns or raises.

        Raises:
            ConfigurationError: the stack cannot listen on one of its ports, or the workers cannot use the database.
            StackError: the stack cannot start or cannot continue.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup ignores it.
            signals.append(signal.SIGHUP)
        for number in signals:
            # After loop.add_signal_handler, a Ctrl-C that came once the loop is closed would print a traceback.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._on_signal))
        try:
            async with contextlib.AsyncExitStack() as cleanup:
                try:
                    await self._start_all(cleanup)
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    pass  # Only _stop cancels this task.
                finally:
                    self._stopping = True
                    for process in self._processes:
                        await process.stop_supervising()
        finally:
            for number in signals:
                signal.signal(number, signal.SIG_IGN)
        if self._failure:
            raise self._failure

    async def _start_all(self, cleanup: contextlib.AsyncExitStack) -> None:
        settings = self._settings
        prepare_data_dir(settings.data_dir)
        cleanup.enter_context(locked_data_dir(settings.data_dir))
        check_ports(settings)
        certificate = check_tls(settings)
        make_provider(settings.provider)  # Otherwise each worker would find its file missing, again and again.
        max_connections = _raise_open_files()
        run = make_run_directory(settings.data_dir, cleanup)
        common = {"BIND_ADDRESS": settings.bind_address, "PYTHONUNBUFFERED": "1"}
        tls = EnvoyTls(run)
        tls.remove()  # What a stack that was killed has left.
        if settings.tls and certificate:
            # The workers have another working directory than this process.
            common |= {name: str(path) for name, path in zip(TLS_VARIABLES, settings.tls, strict=True) if path}
            cleanup.callback(tls.remove)
            tls.write(certificate)
            following = asyncio.create_task(tls.follow(settings.tls, certificate))
            cleanup.callback(following.cancel)
        urls = settings.database_urls
        if urls is None:
            postgres, urls = await prepare_postgres(settings.data_dir, run)
            await self._start(postgres, cleanup)
            common |= {"SERVER_ROLE": SERVER_ROLE}
        else:
            await asyncio.to_thread(check_database, urls)
        # Only migrations may have what logs in as the owner.
        environment = os.environ | common | {"DATABASE_URL": urls.server}
        environment.pop("OWNER_DATABASE_URL", None)
        console.log("stack", "migrating the database")
        migrate = Command(
            name="migrate",
            arguments=[sys.executable, "-m", "storage.migrate"],
            environment={**environment, "OWNER_DATABASE_URL": urls.owner},
            # On SIGINT, Python prints a traceback. The database rolls back a migration that is interrupted.
            stop_signals=[(signal.SIGTERM, 15.0)],
        )
        await run_to_end(migrate)
        try:
            await asyncio.to_thread(check_schema, urls.server)
            auth = await asyncio.to_thread(is_auth_on, settings.auth, settings.provider, urls.server)
        except DatabaseUnavailable as error:
            raise StackError(f"DATABASE_URL: the database cannot be reached: {error}") from None
        check_open_address(settings.bind_address, settings.auth, is_on=auth)
        if auth and not settings.origins:
            # Each key names the origins that it is for.
            settings = dataclasses.replace(settings, origins=None)
        workers = make_workers(settings, environment, run, self._processes[:])
        for worker in workers:
            await self._start(worker, cleanup)
        envoy, admin = make_envoy(FILES / "envoy.yaml", settings, run, max_connections, workers, auth=auth)
        await self._start(envoy, cleanup)
        console.show(format_banner(settings, urls, admin.path, auth=auth))

    async def _start(self, process: SupervisedProcess, cleanup: contextlib.AsyncExitStack) -> None:
        async def stop() -> None:
            console.log("stack", f"stopping {process.name}")
            await process.stop()

        console.log("stack", f"starting {process.name}")
        self._processes.append(process)
        cleanup.push_async_callback(stop)
        process.start(self._stop)
        await process.ready.wait()

    def _on_signal(self) -> None:
        if self._stopping:
            escalate_all()
        else:
            console.log("stack", "stopping")
            self._stop(None)

    def _stop(self, failure: BaseException | None) -> None:
        if not self._stopping:
            self._stopping = True
            self._failure = failure
            self._task.cancel()
        elif failure:
            console.log("stack", f"while stopping: {failure}")


def _raise_open_files() -> int:
    """Raise the limit on open files, which all processes inherit, and return how many connections each can accept.

    Raises:
        ConfigurationError: the limit is too low for anything.
    """
    limit = open_files.raise_limit()
    connections = open_files.limit_connections(limit)
    if connections < MAX_CONNECTIONS:
        console.log(
            "stack",
            f"the hard limit on open files (ulimit -Hn) is {limit:,}: Envoy and each worker accept {connections:,} "
            f"connections instead of {MAX_CONNECTIONS:,}",
        )
    return connections
