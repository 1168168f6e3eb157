"""`make chaos`: break the stack under load, one fault after another, then compare acknowledgements with rows."""

import argparse
import contextlib
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.chaos.check import Verdict, check
from tests.chaos.faults import DISK, FAULTS, HARMLESS, Fault, small_disk
from tests.chaos.load import Load
from tests.chaos.pair import ASYNCHRONOUS, SYNCHRONOUS, complete, make_faults, running_stack_on_pair
from tests.support.access import make_key
from tests.support.stack import SEARCH, Stack, running
from tests.support.until import until

UNAUTHENTICATED = 401

QUIET_SECONDS = 1.0
"""The service has recovered once it has acknowledged creates and failed none for this long."""

# The space on the disk for the events of one round and their index entries.
_ROUND_MEBIBYTES = 10


class Round(NamedTuple):
    """One fault and its effects."""

    name: str
    start: float
    outage: float
    """Seconds from the start to the last failed attempt; 0 if none failed."""
    failures: int


def run_round(stack: Stack, load: Load, name: str, fault: Fault) -> Round:
    """Cause one fault and wait until the service has recovered from it."""
    print(f"{name} …", file=sys.stderr)
    before = len(load.failures)
    start = time.monotonic()
    fault(stack)
    over = time.monotonic()

    def has_recovered() -> bool:
        since = time.monotonic() - QUIET_SECONDS
        fails = len(load.failures) > before and load.failures[-1].ended > since
        return since > over and not fails and load.receipts[-1].started > since and stack.is_whole()

    until(has_recovered, 60)
    failed = [failure.ended for failure in load.failures[before:]]
    if name in HARMLESS and failed:
        print(Counter(failure.what for failure in load.failures[before:]), file=sys.stderr)
    return Round(name, start, max(failed, default=start) - start, len(failed))


def run(
    stack: Stack,
    rounds: int,
    seed: int,
    faults: Mapping[str, Fault],
    *,
    prepare: Callable[[], None] = lambda: None,
    keys: bool = False,
    pause: float = 0.0,
) -> tuple[Load, list[Round], Verdict]:
    """Run `rounds` rounds: every fault once, in random order, then all of them again in another order.

    Args:
        stack: what is broken.
        rounds: how many.
        seed: of the order.
        faults: by their names.
        prepare: called before each.
        keys: whether callers need credentials, and have them.
        pause: how many seconds callers wait after what they have stored.
    """
    chance = random.Random(seed)
    done: list[Round] = []
    customer = f"chaos-{uuid.uuid4()}"
    key = make_key(stack.database_url, "secret", customer) if keys else ""
    if keys:
        until(lambda: all(stack.request(SEARCH) == UNAUTHENTICATED for _ in range(10)))
    with Load(stack.http_port, customer, key=key, pause=pause) as load:
        until(lambda: len(load.receipts) > 100)
        queue: list[str] = []
        for number in range(rounds):
            if not queue:
                queue = list(faults)
                chance.shuffle(queue)
            name = queue.pop()
            prepare()
            done.append(run_round(stack, load, name, faults[name]))
            print(
                f"round {number + 1}: {done[-1].name}: {done[-1].outage:.1f} s, {done[-1].failures} failed attempts, "
                f"{len(load.receipts)} receipts",
                file=sys.stderr,
            )
    until(lambda: stack.request(SEARCH) == (UNAUTHENTICATED if keys else 200))
    return load, done, check(stack, load)


def format_table(load: Load, done: list[Round], verdict: Verdict) -> str:
    """Return a table of a line for each fault. An event counts for the round in which its attempt began."""
    lines = [
        "| fault | rounds | acknowledged | lost | duplicated | seconds to the last failed attempt: median, worst |"
    ]
    lines.append("|---|---|---|---|---|---|")
    starts = [each.start for each in done]
    round_of = {receipt.number: sum(start <= receipt.started for start in starts) - 1 for receipt in load.receipts}
    for name in sorted({each.name for each in done}):
        indexes = {index for index, each in enumerate(done) if each.name == name}
        outages = sorted(each.outage for each in done if each.name == name)
        acknowledged = sum(index in indexes for index in round_of.values())
        lost = sum(round_of.get(number) in indexes for number in verdict.lost)
        duplicated = sum(round_of.get(number) in indexes for number in verdict.duplicated)
        lines.append(
            f"| {name} | {len(indexes)} | {acknowledged:,} | {lost} | {duplicated} "
            f"| {outages[len(outages) // 2]:.1f}, {outages[-1]:.1f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run what the command line asks for, print the table, and return 1 if anything was wrong."""
    description = "Break the stack under load, and check that no acknowledged event is lost."
    parser = argparse.ArgumentParser(prog="make chaos", description=description)
    parser.add_argument("--rounds", type=int, default=200, help="how many faults to cause (default: 200)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the order of the faults")
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="cause only this one; may be repeated")
    parser.add_argument("--keys", action="store_true", help="let callers need credentials, and give them a key")
    parser.add_argument(
        "--pair", choices=[SYNCHRONOUS, ASYNCHRONOUS], help="break a primary with such a standby, and nothing else"
    )
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    with _running(options) as (stack, faults, prepare):
        stack.wait_until_up()
        try:
            load, done, verdict = run(stack, options.rounds, options.seed, faults, prepare=prepare, keys=options.keys)
        except AssertionError:
            print("\n".join(stack.log.splitlines()[-60:]), file=sys.stderr)
            raise
        bugs = [line for line in stack.log.splitlines() if '"level":"ERROR"' in line and '"exception"' in line]
    return _report(load, done, verdict, bugs)


@contextlib.contextmanager
def _running(options: argparse.Namespace) -> Iterator[tuple[Stack, Mapping[str, Fault], Callable[[], None]]]:
    """Run a stack, and yield it, the faults to cause in it, and what is to be called before each of them."""
    if options.pair:
        with (
            tempfile.TemporaryDirectory(prefix="chaos-") as name,
            running_stack_on_pair(Path(name)) as (stack, pair),
        ):
            yield stack, make_faults(pair, options.pair), partial(complete, pair, options.pair)
        return
    asked = options.fault or list(FAULTS)
    with contextlib.ExitStack() as cleanup:
        disk = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="chaos-"))) / "disk"
        is_small = False
        if DISK in asked:
            is_small = cleanup.enter_context(small_disk(disk, 512 + _ROUND_MEBIBYTES * options.rounds))
        disk.mkdir(exist_ok=True)
        stack = cleanup.enter_context(running(disk / "stack"))
        names = [name for name in asked if is_small or name != DISK]
        if names != asked:
            print(f"left out, because mounting a disk needs root: {DISK}", file=sys.stderr)
        yield stack, {name: FAULTS[name] for name in names}, lambda: None


def _report(load: Load, done: list[Round], verdict: Verdict, bugs: list[str]) -> int:
    """Print what was found, and return the exit status."""
    print(format_table(load, done, verdict))
    for what, numbers in verdict._asdict().items():
        print(f"events {what}: {len(numbers)} {numbers[:10] if numbers else ''}")
    noticed = [each for each in done if each.name in HARMLESS and each.failures]
    print(f"exceptions in the log: {len(bugs)} {bugs[:3] if bugs else ''}")
    print(f"unexpected answers: {len(load.unexpected)} {load.unexpected[:3] if load.unexpected else ''}")
    print(f"failed attempts during harmless faults: {sum(each.failures for each in noticed)}")
    return 1 if any(verdict) or load.unexpected or noticed else 0


if __name__ == "__main__":
    sys.exit(main())
