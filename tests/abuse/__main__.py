"""`python -m tests.abuse`: attack the stack in every way that is known, and print what it did to another customer."""

import argparse
import asyncio
import contextlib
import itertools
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from server.event_loop import make_event_loop
from tests.abuse.attacks import ATTACKS
from tests.abuse.rows import HEAD, Row
from tests.abuse.run import BASELINE_SECONDS, Target, started


def choose(parts: list[str]) -> list[str]:
    """Return the names of the attacks that contain one of the parts, or all if there are none."""
    unknown = [part for part in parts if not any(part.lower() in name.lower() for name in ATTACKS)]
    if unknown:
        sys.exit(f"no attack is called {', '.join(unknown)}: see --list")
    return [name for name in ATTACKS if not parts or any(part.lower() in name.lower() for part in parts)]


class _Stacks:
    """The stack for the next attack: the last one, unless it is another kind, or the last attack has left its mark."""

    def __init__(self, directory: Path, runner: "asyncio.Runner", *, keys: bool) -> None:
        self._keys = keys
        self._directory = directory
        self._runner = runner
        self._numbers = itertools.count()
        self._open = contextlib.ExitStack()
        self._target: Target | None = None
        self._limit: int | None = None
        self._alone: Mapping[str, float] = {}

    def get(self, open_files: int | None) -> Target:
        if self._target is None or self._limit != open_files:
            self.discard()
            directory = self._directory / f"{next(self._numbers)}"
            target = self._open.enter_context(started(directory, open_files, keys=self._keys))
            # The first stack's serves for all: a machine that is busy once must not excuse an attack.
            self._runner.run(target.measure_alone(0 if self._alone else BASELINE_SECONDS))
            self._alone = target.alone = self._alone or target.alone
            self._target, self._limit = target, open_files
        return self._target

    def discard(self) -> None:
        self._target = None
        # The row has told of exceptions in the log.
        with contextlib.suppress(AssertionError):
            self._open.close()


def run(names: list[str], seconds: float, settle: float, *, keys: bool) -> Iterator[Row]:
    """Run the attacks and yield their rows."""
    with (
        tempfile.TemporaryDirectory(prefix="abuse-") as directory,
        asyncio.Runner(loop_factory=make_event_loop) as runner,
    ):
        stacks = _Stacks(Path(directory), runner, keys=keys)
        try:
            for name in names:
                print(f"{name} …", file=sys.stderr)
                try:
                    target = stacks.get(ATTACKS[name].open_files)
                except AssertionError as reason:
                    print(f"left out, because the stack does not start: {reason}", file=sys.stderr)
                    continue
                row = runner.run(target.attack(name, seconds, settle))
                for error in row.errors[:3]:
                    print(error, file=sys.stderr)
                yield row
                if row.leaves_a_mark():
                    stacks.discard()
        finally:
            stacks.discard()


def main() -> int:
    """Run what the command line asks for, print the table, and return 1 if anything did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.abuse", description="See whether one caller can hurt another."
    )
    parser.add_argument("--attacks", default="", metavar="A,B", help="only those whose names contain one of these")
    parser.add_argument("--seconds", type=float, default=60, help="how long each attack lasts (default: 60)")
    parser.add_argument("--settle", type=float, default=10, help="when memory must be back, after that (default: 10)")
    parser.add_argument("--keys", action="store_true", help="let callers need credentials, and give them keys")
    parser.add_argument("--list", action="store_true", help="print the names of the attacks")
    options = parser.parse_args()
    names = choose([part for part in options.attacks.split(",") if part])
    if options.list:
        print("\n".join(names))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # As Ctrl-C does: the stack is stopped first.
    rows = []
    print(HEAD, flush=True)
    for row in run(names, options.seconds, options.settle, keys=options.keys):
        rows.append(row)
        print(row.format(), flush=True)
    held = sum(not row.misses() for row in rows)
    print(f"\n{held} of {len(rows)} hold.")
    return 0 if held == len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
