"""One row: the victim alone, then beside the attack, then after it."""

import asyncio
import contextlib
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.abuse.attacks import ATTACKS
from tests.abuse.caller import Ports
from tests.abuse.credentials import VARIABLE
from tests.abuse.requests import ATTACKER, VICTIM
from tests.abuse.rows import MAX_GROWTH, Row, p99
from tests.abuse.seed import Seed
from tests.abuse.victim import Victim
from tests.abuse.vitals import Memory, Probes, Processes
from tests.support.access import make_key
from tests.support.processes import ROOT
from tests.support.stack import SEARCH, Stack, running
from tests.support.until import until

WARM_SECONDS = 2.0
BASELINE_SECONDS = 10.0
_BEGIN_SECONDS = 60.0
_POLL_SECONDS = 0.2

# A process over this endangers the machine: the attack is ended early.
_MOST_MEBIBYTES = 3_000

# The victim and what measures it are scheduled before the service and the attacker: in truth they are elsewhere.
_NICENESS = -5


class Target:
    """A stack that is attacked, and how fast it answers the victim alone."""

    def __init__(self, stack: Stack, key: str = "") -> None:
        self.stack = stack
        self._key = key
        """The attacker's."""
        self.ports = Ports(stack.http_port, tuple(stack.grpc_ports))
        self.alone: Mapping[str, float] = {}
        self._seeds: set[Seed] = set()

    async def measure_alone(self, seconds: float) -> None:
        """Run the victim alone until caches are warm, and then for `seconds`, from which its p99 alone is taken."""
        async with Victim(self.ports) as victim, Probes(self.ports.grpc):
            await asyncio.sleep(WARM_SECONDS)
            warm = time.monotonic()
            await asyncio.sleep(seconds)
        samples = [sample for sample in victim.samples if sample.started >= warm]
        failures = Counter(sample.failure for sample in samples if sample.failure)
        assert not failures, f"the victim fails alone: {failures}"
        self.alone = p99(samples)

    def store(self, seed: Seed | None) -> None:
        """Store the rows of a seed, once."""
        if seed and seed not in self._seeds:
            self._seeds.add(seed)
            seed.store(self.stack.database_url)

    async def attack(self, name: str, seconds: float, settle: float) -> Row:
        """Attack for so long, watch for at most `settle` seconds more until the memory is back, and return the row."""
        self.store(ATTACKS[name].seed)
        processes = Processes(self.stack)
        before, logged = processes.read_memory(), len(self.stack.log)
        processes.forget_peak()
        async with Victim(self.ports) as victim, Probes(self.ports.grpc) as probes:
            async with _attacking(name, self.ports, self._key) as (attacker, done):
                remark = "" if attacker.returncode is None else "the attacker failed"
                start = time.monotonic()
                while time.monotonic() < start + seconds and not remark:
                    await asyncio.sleep(_POLL_SECONDS)
                    if max(processes.read_memory()) > _MOST_MEBIBYTES:
                        remark = f"ended early, after {time.monotonic() - start:.0f} s"
                    if attacker.returncode is not None:
                        remark = "the attacker failed"
                end = time.monotonic()
            slowest = probes.longest
            while time.monotonic() < end + settle:
                await asyncio.sleep(_POLL_SECONDS)
                if _is_back(processes.read_memory(), before):
                    break
        return Row(
            name=name,
            alone=self.alone,
            samples=[sample for sample in victim.samples if sample.started >= start],
            meanwhile=p99(sample for sample in victim.samples if start <= sample.started < end),
            before=before,
            peak=processes.read_peak(),
            after=processes.read_memory(),
            probe=slowest,
            deaths=not processes.are_there(),
            errors=[line for line in self.stack.log[logged:].splitlines() if "Traceback" in line],
            done=done,
            remark=remark,
        )


def _is_back(now: Memory, before: Memory) -> bool:
    return all(size <= MAX_GROWTH * limit for size, limit in zip(now, before, strict=True))


@contextlib.asynccontextmanager
async def _attacking(name: str, ports: Ports, key: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, list[Any]]]:
    """Run an attack; yield its process, and a list that holds afterwards what happened to it."""
    arguments = [sys.executable, "-m", "tests.abuse.attacker", name, str(ports.http), *map(str, ports.grpc)]
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=ROOT, env={**os.environ, VARIABLE: key}, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    done: list[Any] = []
    try:
        async with asyncio.timeout(_BEGIN_SECONDS):
            if not await process.stdout.readline():
                await process.wait()
        yield process, done
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError, ValueError):
                async with asyncio.timeout(3):
                    done += json.loads(await process.stdout.readline())
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@contextlib.contextmanager
def started(
    directory: Path, open_files: int | None = None, *, keys: bool = False, **environment: str
) -> Iterator[Target]:
    """Run a stack with a limit of open files, or that of these tests, whose callers need credentials if `keys`."""
    try:
        with running(directory, **environment) as stack:
            if open_files:
                # As `ulimit -n` does. Its children inherit it.
                resource.prlimit(stack.process.pid, resource.RLIMIT_NOFILE, (open_files, open_files))
            stack.wait_until_up()
            with contextlib.suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
            key = _make_keys(stack) if keys else ""
            yield Target(stack, key)
    finally:
        os.environ.pop(VARIABLE, None)
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)


def _make_keys(stack: Stack) -> str:
    """Have callers need credentials. Give this process those of the victim, and return those of the attacker."""
    os.environ[VARIABLE], key = (make_key(stack.database_url, "secret", each) for each in (VICTIM, ATTACKER))
    # Every worker has noticed.
    until(lambda: all(stack.request(SEARCH) == 401 for _ in range(10)))
    time.sleep(5)
    return key
