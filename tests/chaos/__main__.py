"""`make chaos`: the whole stack under load, one fault after another, and at the end receipts against rows."""

import argparse
import random
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tests.chaos.check import Verdict, check
from tests.chaos.faults import DISK, FAULTS, HARMLESS, small_disk
from tests.chaos.load import Load
from tests.support.stack import Stack, running, until

QUIET_SECONDS = 1.0
"""So long without a failed attempt, and with acknowledgements, means that the service is back."""

# What the events of a round, and their part of the indexes, may take on the disk.
_ROUND_MEBIBYTES = 10


class Round(NamedTuple):
    """One fault."""

    name: str
    start: float
    back: float
    """Seconds until the last attempt failed; 0 if none did."""
    failures: int


def run_round(stack: Stack, load: Load, name: str) -> Round:
    """Does one thing to the stack and waits until its callers notice nothing of it any more."""
    print(f"{name} …", file=sys.stderr)
    before = len(load.failures)
    start = time.monotonic()
    FAULTS[name](stack)
    over = time.monotonic()

    def is_back() -> bool:
        since = time.monotonic() - QUIET_SECONDS
        fails = len(load.failures) > before and load.failures[-1].ended > since
        return since > over and not fails and load.receipts[-1].started > since and stack.is_whole()

    until(is_back, 60)
    failed = [failure.ended for failure in load.failures[before:]]
    if name in HARMLESS and failed:
        print(Counter(failure.what for failure in load.failures[before:]), file=sys.stderr)
    return Round(name, start, max(failed, default=start) - start, len(failed))


def run(stack: Stack, rounds: int, seed: int, names: list[str]) -> tuple[Load, list[Round], Verdict]:
    """Runs so many rounds, each fault in turn, in a new order each time."""
    chance = random.Random(seed)
    done: list[Round] = []
    with Load(stack.http_port, f"chaos-{uuid.uuid4()}") as load:
        until(lambda: len(load.receipts) > 100)
        queue: list[str] = []
        for number in range(rounds):
            if not queue:
                queue = list(names)
                chance.shuffle(queue)
            done.append(run_round(stack, load, queue.pop()))
            print(
                f"round {number + 1}: {done[-1].name}: {done[-1].back:.1f} s, {done[-1].failures} failed attempts, "
                f"{len(load.receipts)} receipts",
                file=sys.stderr,
            )
    until(stack.serves)
    return load, done, check(stack, load)


def table(load: Load, done: list[Round], verdict: Verdict) -> str:
    """What happened, a line for each kind of fault. An event belongs to the round in which its attempt began."""
    lines = [
        "| fault | rounds | acknowledged | lost | doubled | seconds to the last failed attempt, median and worst |"
    ]
    lines.append("|---|---|---|---|---|---|")
    starts = [each.start for each in done]
    of = {receipt.number: sum(start <= receipt.started for start in starts) - 1 for receipt in load.receipts}
    for name in sorted({each.name for each in done}):
        indexes = {index for index, each in enumerate(done) if each.name == name}
        backs = sorted(each.back for each in done if each.name == name)
        acknowledged = sum(index in indexes for index in of.values())
        lost, doubled = (sum(of.get(number) in indexes for number in bad) for bad in (verdict.lost, verdict.doubled))
        lines.append(
            f"| {name} | {len(indexes)} | {acknowledged:,} | {lost} | {doubled} "
            f"| {backs[len(backs) // 2]:.1f}, {backs[-1]:.1f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Runs what the command line asks for, prints the table, and returns whether anything was wrong."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Break it, and see that nothing is lost.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--fault", action="append", choices=list(FAULTS), help="only this; may be repeated")
    options = parser.parse_args()
    print(f"seed {options.seed}", file=sys.stderr)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as directory,
        small_disk(Path(directory) / "disk", 512 + _ROUND_MEBIBYTES * options.rounds) as is_small,
        running(Path(directory) / "disk" / "stack") as stack,
    ):
        names = [name for name in options.fault or FAULTS if is_small or name != DISK]
        if not is_small:
            print(f"not done, as no disk can be mounted: {DISK}", file=sys.stderr)
        stack.wait_until_up()
        try:
            load, done, verdict = run(stack, options.rounds, options.seed, names)
        except AssertionError:
            print("\n".join(stack.log.splitlines()[-60:]), file=sys.stderr)
            raise
        bugs = [line for line in stack.log.splitlines() if '"level":"ERROR"' in line and '"exception"' in line]
    print(table(load, done, verdict))
    for what, bad in verdict._asdict().items():
        print(f"{what}: {len(bad)} {bad[:10] if bad else ''}")
    print(f"exceptions in the log: {len(bugs)} {bugs[:3] if bugs else ''}")
    noticed = [each for each in done if each.name in HARMLESS and each.failures]
    print(f"wrong answers: {len(load.wrong)} {load.wrong[:3] if load.wrong else ''}")
    print(f"failures where none may be seen: {sum(each.failures for each in noticed)}")
    return 1 if any(verdict) or load.wrong or noticed else 0


if __name__ == "__main__":
    sys.exit(main())
