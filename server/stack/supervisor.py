"""Brings the stack up in order, watches it, and takes it down in order."""

import asyncio
import contextlib
import os
import signal
import sys
from functools import partial

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from server.settings import format_host
from server.stack import console, process
from server.stack.banner import banner
from server.stack.envoy import envoy
from server.stack.postgres import embedded_postgres
from server.stack.preflight import check_database, check_ports, locked
from server.stack.process import Command, run_to_end
from server.stack.settings import PROJECT_ROOT, Settings
from server.stack.supervised_process import Part


class Supervisor:
    """One run of the stack."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parts: list[Part] = []  # In the order of their start: each needs only those before it.
        self._failure: BaseException | None = None
        self._stopping = False

    async def run(self) -> None:
        """Run the stack until SIGINT, SIGTERM or SIGHUP; a second one no longer waits for anything to finish.

        Raises StackError if it does not come up or cannot go on. Either way nothing is left running.
        """
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # As it is under nohup.
            signals.append(signal.SIGHUP)
        for number in signals:
            # Not by add_signal_handler, at whose end a late Ctrl-C would be a traceback.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._on_signal))
        with contextlib.ExitStack() as cleanup:
            try:
                await self._bring_up(cleanup)
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass  # By _stop: there is nobody else.
            finally:
                self._stopping = True
                await self._take_down()
                for number in signals:
                    signal.signal(number, signal.SIG_IGN)
        if self._failure:
            raise self._failure

    async def _bring_up(self, cleanup: contextlib.ExitStack) -> None:
        settings = self._settings
        cleanup.enter_context(locked(settings.data_dir))
        check_ports(settings)
        url = settings.database_url
        if url is None:
            postgres, url = await embedded_postgres(settings.data_dir, cleanup)
            await self._start(postgres)
        else:
            await asyncio.to_thread(check_database, url)
        environment = os.environ | {
            "DATABASE_URL": url,
            "BIND_ADDRESS": settings.bind_address,
            "PYTHONUNBUFFERED": "1",
        }
        # Not SIGTERM, with which a server gives a load balancer time: Envoy is stopped before the servers.
        gently = [(signal.SIGINT, 15.0)]
        # A migration that is cut off is undone by the database; Python would have a traceback for SIGINT.
        at_once = [(signal.SIGTERM, 15.0)]
        await run_to_end(Command("migrate", [sys.executable, "-m", "storage.migrate"], environment, at_once))
        servers = [
            Part(
                Command(
                    f"server-{number}",
                    [sys.executable, "-m", "server"],
                    environment | {"GRPC_PORT": str(port)},
                    gently,
                ),
                partial(_is_serving, f"{format_host(settings.connect_address)}:{port}"),
                needs=self._parts[:],
            )
            for number, port in enumerate(settings.grpc_ports, 1)
        ]
        for server in servers:
            await self._start(server)
        await self._start(envoy(PROJECT_ROOT / "envoy.yaml", settings, servers))
        console.show(banner(settings, url))

    async def _start(self, part: Part) -> None:
        console.log("stack", f"starting {part.name}")
        self._parts.append(part)
        part.start(self._stop)
        await part.ready.wait()

    def _on_signal(self) -> None:
        if self._stopping:
            for running in process.running:
                running.hurry()
        else:
            console.log("stack", "stopping")
            self._stop(None)

    def _stop(self, failure: BaseException | None) -> None:
        if not self._stopping:
            self._stopping = True
            self._failure = failure
            self._task.cancel()

    async def _take_down(self) -> None:
        for part in self._parts:
            await part.leave_alone()
        for part in reversed(self._parts):
            console.log("stack", f"stopping {part.name}")
            await part.stop()


def _is_serving(target: str) -> bool:
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=1)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
