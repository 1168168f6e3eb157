"""Row 9: the memory of each worker of the stack, after load, after gzip bombs, and after large batches."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from google.protobuf.message import Message

from tests.bench import bombs
from tests.bench.bench import Bench
from tests.bench.bodies import BATCH, BATCH_PATH, CREATE, CREATE_PATH, LEAD, SEARCH, make_batch, to_json
from tests.bench.contenders import Contender
from tests.bench.load import Target, run_load, run_requests
from tests.bench.search_rows import format_path
from tests.support import requests

UNDER_LOAD = 120
"""Goals in MiB."""
AFTER_BOMBS = 256
AFTER_BATCHES = 256
FLAT = 1.1
"""The goal for the memory at the end of the load, as a multiple of that after its first part."""

_PARTS = 5
_BATCHES, _BATCH_EVENTS, _BATCH_BYTES = 1_000, 1_000, 8 << 20
_CALLERS_OF_A_WORKER = 4
_SETTLE_SECONDS = 5.0


class Sample(NamedTuple):
    """The memory of the workers at one moment."""

    after: str
    mebibytes: Sequence[float]
    """For each worker."""
    peaks: Sequence[float]
    """The most that each has had since the moment before."""
    goal: int | None = None


def measure(bench: Bench, minutes: float) -> str:
    """Return the table of samples as Markdown."""
    with bench.contenders():
        samples = list(_Measurement(bench).run(minutes))
    return _format(samples)


class _Measurement:
    """One stack, and what is done to it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._stack: Contender = bench.get_stack()
        self._pids = list(self._stack.parts["server"])

    def run(self, minutes: float) -> list[Sample]:
        samples = [self._sample("the start")]
        for part in range(1, _PARTS + 1):
            rate = self._load(minutes * 60 / _PARTS)
            what = f"{part * minutes / _PARTS:g} minutes of creates and searches ({rate:,.0f}/s)"
            samples.append(self._sample(what, UNDER_LOAD))
        statuses = bombs.send_grpc(self._stack.worker_ports)
        samples.append(self._sample(f"{bombs.COUNT} gzip bombs by gRPC to each ({statuses})", AFTER_BOMBS))
        statuses = bombs.send_json(self._stack.port)
        samples.append(self._sample(f"{bombs.COUNT} by JSON to each of two routes ({statuses})", AFTER_BOMBS))
        samples.append(self._sample(f"{_BATCHES:,} batches of 8 MiB by gRPC ({self._send_batches()})", AFTER_BATCHES))
        samples.append(self._sample(f"{_BATCHES:,} by JSON ({self._send_json_batches()})", AFTER_BATCHES))
        return samples

    def _load(self, seconds: float) -> float:
        """Load both workers with creates by gRPC, and Envoy with creates and searches by JSON, all at once."""
        make_grpc, make_json = self._bench.make_grpc_target, self._bench.make_json_target
        # Few, so that most of the load is creates; what it finds grows with them, so it asks for another lead.
        search = requests.lead_search("customer-1", lead_id="nobody")
        targets = [make_grpc(port, CREATE, LEAD, 8, 8) for port in self._stack.worker_ports]
        targets.append(make_grpc(self._stack.port, SEARCH, search, 1, 4))
        targets.append(make_json(self._stack.port, CREATE_PATH, LEAD, 64))
        targets.append(make_json(self._stack.port, format_path(search), None, 4))
        return run_load(*targets, seconds=seconds, parts={}).rate

    def _send_batches(self) -> str:
        ports = self._stack.worker_ports
        batch = _make_large_batch()
        targets = [self._bench.make_grpc_target(port, BATCH, batch, _CALLERS_OF_A_WORKER, 1) for port in ports]
        return self._send(*targets)

    def _send_json_batches(self) -> str:
        callers = _CALLERS_OF_A_WORKER * len(self._pids)
        return self._send(self._bench.make_json_target(self._stack.port, BATCH_PATH, _make_large_batch(), callers))

    def _send(self, *targets: Target) -> str:
        start = time.time()
        statuses = run_requests(*targets, count=_BATCHES // len(targets))
        end = time.time()
        stored = self._bench.count_stored(start, end) / _BATCH_EVENTS
        return f"{bombs.format_statuses(statuses)}; {stored:,g} stored; in {end - start:.0f} s"

    def _sample(self, after: str, goal: int | None = None) -> Sample:
        time.sleep(_SETTLE_SECONDS)
        memory = [_read_mebibytes(pid) for pid in self._pids]
        sample = Sample(after, [now for now, _ in memory], [peak for _, peak in memory], goal)
        for pid in self._pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # The peak begins anew.
        print(f"row 9: {sample}", file=sys.stderr, flush=True)
        return sample


def _make_large_batch() -> Message:
    """Return a batch of as many events as are accepted, which are just within the limit as JSON."""
    fixed = len(to_json(make_batch(_BATCH_EVENTS, message="")))
    return make_batch(_BATCH_EVENTS, message="m" * ((_BATCH_BYTES - fixed) // _BATCH_EVENTS - len('"message":"",')))


def _read_mebibytes(pid: int) -> tuple[float, float]:
    """Return what a process has in memory, and the most it has had. Exit if it is no longer there."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        sys.exit(f"the worker {pid} has died")
    values = dict(line.split(":", 1) for line in lines)
    return int(values["VmRSS"].split()[0]) / 1024, int(values["VmHWM"].split()[0]) / 1024


def _format(samples: Sequence[Sample]) -> str:
    lines = ["| 9: memory of each worker after | MiB | most meanwhile | goal | |", "|---|---|---|---|---|"]
    for sample in samples:
        now, most = (" and ".join(f"{value:.0f}" for value in values) for values in (sample.mebibytes, sample.peaks))
        goal, verdict = ("", "")
        if sample.goal is not None:
            goal, verdict = f"under {sample.goal}", "met" if max(sample.mebibytes) < sample.goal else "missed"
        lines.append(f"| {sample.after} | {now} | {most} | {goal} | {verdict} |")
    first, last = samples[1].mebibytes, samples[_PARTS].mebibytes
    growth = max(after / before for before, after in zip(first, last, strict=True))
    verdict = "met" if growth <= FLAT else "missed"
    lines.append(f"| the last minutes of load against the first | × {growth:.2f} | | at most × {FLAT:g} | {verdict} |")
    return "\n".join(lines)
