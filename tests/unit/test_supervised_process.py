"""A supervised process, without PostgreSQL, the server or Envoy."""

import asyncio
import os
import signal

import pytest

from server.stack.child_process import Command
from server.stack.settings import StackError
from server.stack.supervised_process import SupervisedProcess

SLEEP = Command(
    name="sleeper",
    arguments=["/bin/sleep", "60"],
    environment=os.environ,
    stop_signals=[(signal.SIGTERM, 5.0)],
)


def fail(error: BaseException) -> None:
    raise AssertionError from error


def test_a_bug_in_draining_is_reported_and_the_process_still_stopped() -> None:
    cleanings = 0

    async def drain() -> None:
        raise RuntimeError("a bug")

    async def clean_up() -> None:
        nonlocal cleanings
        cleanings += 1

    async def run() -> None:
        process = SupervisedProcess(SLEEP, lambda: None, drain=drain, clean_up=clean_up)
        process.start(fail)
        await process.ready.wait()
        with pytest.raises(RuntimeError, match="a bug"):
            await process.stop()

    asyncio.run(run())
    assert cleanings == 2  # Before the start and after the stop.


def test_a_bug_in_a_probe_is_reported() -> None:
    async def run() -> None:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        process = SupervisedProcess(SLEEP, lambda: str(1 // 0), startup_seconds=5.0)
        process.start(failed.set_exception)
        with pytest.raises(ZeroDivisionError):
            await failed
        await process.stop()

    asyncio.run(run())


def test_a_process_that_never_becomes_ready_counts_as_dead() -> None:
    async def run() -> None:
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        process = SupervisedProcess(SLEEP, lambda: "it sleeps", startup_seconds=0.05)
        process.start(failed.set_exception)
        with pytest.raises(
            StackError, match=r"sleeper died \(not ready within 0\.05 s: it sleeps; killed by SIGTERM\), 5 times"
        ):
            await failed
        await process.stop()

    asyncio.run(run())


def test_a_start_that_takes_long_is_explained(capfd: pytest.CaptureFixture[str]) -> None:
    logged: list[str] = []

    async def run() -> None:
        # It is ready as soon as the log has the reason.
        process = SupervisedProcess(SLEEP, lambda: None if find_reason() else "it waits for Godot")
        process.start(fail)
        await process.ready.wait()
        await process.stop()

    def find_reason() -> bool:
        logged.extend(capfd.readouterr().err.splitlines())
        return bool(logged)

    asyncio.run(run())
    assert logged == ["stack    | sleeper is not ready: it waits for Godot"]
