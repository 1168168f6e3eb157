"""Rows that compare batches of 500 events."""

import subprocess
import sys
import time
from contextlib import ExitStack

from tests.bench.bench import Bench
from tests.bench.bodies import BATCH, BATCH_PATH, BATCH_SIZE, make_batch
from tests.bench.load import Load
from tests.bench.processor_time import read_parts
from tests.bench.report import Goal, Round, Row, compare_rates
from tests.support.processes import ROOT, environment

# Each keeps one batch in flight. For a worker that is one to commit and others to read meanwhile.
_CALLERS_OF_A_WORKER = 4


def compare_with_copy(bench: Bench) -> Round:
    """Return the rate of batches by gRPC, to both workers at once, against that of COPY on as many connections."""
    ports = bench.get_stack().worker_ports  # Each worker writes through one connection.
    ours, copy = bench.alternate(
        lambda: bench.check_stored(
            bench.grpc(
                bench.get_stack(), BATCH, make_batch(), ports=ports, connections=_CALLERS_OF_A_WORKER, streams=1
            ),
            BATCH_SIZE,
        ),
        lambda: bench.check_stored(run_copy(bench, len(ports)), BATCH_SIZE),
    )
    return compare_rates(ours, copy, BATCH_SIZE)


def compare_json_with_grpc(bench: Bench) -> Round:
    """Return the rate of batches by JSON against that of the same by gRPC, both through Envoy."""
    stack, batch, connections = bench.get_stack(), make_batch(), 2 * _CALLERS_OF_A_WORKER
    ours, native = bench.alternate(
        lambda: bench.check_stored(bench.json(stack, BATCH_PATH, batch, connections=connections), BATCH_SIZE),
        lambda: bench.check_stored(bench.grpc(stack, BATCH, batch, connections=connections, streams=1), BATCH_SIZE),
    )
    return compare_rates(ours, native, BATCH_SIZE)


def run_copy(bench: Bench, connections: int) -> Load:
    """Store prepared batches by COPY on so many connections at once, each in a process of its own."""
    began = time.time()
    with ExitStack() as cleanup:
        copies = [_Copy(bench, cleanup) for _ in range(connections)]
        parts = bench.add_database({"COPY": [copy.pid for copy in copies]})
        for copy in copies:
            copy.read_line()  # It has prepared its batches.
        before = read_parts(parts)
        for copy in copies:
            copy.write_line()
        results = [tuple(map(float, copy.read_line().split())) for copy in copies]
        after = read_parts(parts)
    batches = int(sum(count for count, _ in results))
    return Load(
        rate=sum(count / seconds for count, seconds in results),
        costs={part: (after[part] - before[part]) / batches * 1e6 for part in parts},
        window=(began, time.time()),
        answered=batches,
        in_flight=connections,
    )


class _Copy:
    """One run of `tests.bench.baselines.copy`."""

    def __init__(self, bench: Bench, cleanup: ExitStack) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.baselines.copy", str(bench.seconds)],
            cwd=ROOT,
            env=environment(DATABASE_URL=bench.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        # At the end of its input, it ends.
        self.pid, self._input, self._output = cleanup.enter_context(process).pid, process.stdin, process.stdout

    def read_line(self) -> str:
        """Wait for a line that it prints, and return it."""
        return self._output.readline() or sys.exit("COPY failed")

    def write_line(self) -> None:
        """Let it go on."""
        print(file=self._input, flush=True)


ROWS = [
    Row(
        "4",
        "batches of 500 by gRPC, to two workers at once, against COPY of prepared rows on two connections",
        Goal(0.85),
        compare_with_copy,
    ),
    Row("5", "batches of 500 by JSON against the same by gRPC, both through Envoy", Goal(0.9), compare_json_with_grpc),
]
