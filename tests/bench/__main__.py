"""`make bench`: the service's speed, as ratios to baselines on the same machine at the same time.

The sides of a row alternate, because a machine may be twice as fast a minute later. The table shows the median of the
rounds' ratios, the least and the greatest.
"""

import argparse
import re
import sys
from contextlib import ExitStack

from tests.bench import batch_rows, create_rows, latency_rows, list_rows, memory, search_rows, summary_rows
from tests.bench.bench import Bench
from tests.bench.load import require_h2load
from tests.bench.report import STEADY, Round, Row, format_table, list_unsteady

ROWS = sorted(
    [*create_rows.ROWS, *batch_rows.ROWS, *search_rows.ROWS, *latency_rows.ROWS, *summary_rows.ROWS, *list_rows.ROWS],
    key=lambda row: (int(re.sub(r"\D", "", row.name)), row.name),
)
MEMORY = "9"
"""The row that is not a ratio. It takes a quarter of an hour."""

DEFAULT_ROWS = ",".join(dict.fromkeys(re.sub(r"\D", "", row.name) for row in ROWS))


def main() -> None:
    """Run what the command line asks for, and print it as Markdown."""
    parser = argparse.ArgumentParser(prog="make bench", description="Measure the service against baselines, as ratios.")
    parser.add_argument(
        "--rows",
        type=lambda text: text.split(","),
        default=None,
        help=f"which rows, such as 1,4 or 6j; 6 means 6j too, and {MEMORY} is memory (default: {DEFAULT_ROWS})",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how many rounds of each row (default: 5)")
    parser.add_argument("--seconds", type=float, default=3.0, help="seconds of load for each side (default: 3)")
    parser.add_argument("--minutes", type=float, default=10.0, help=f"minutes of load for row {MEMORY} (default: 10)")
    options = parser.parse_args()
    names = options.rows or DEFAULT_ROWS.split(",")
    if unknown := [name for name in names if name != MEMORY and not _choose([name])]:
        parser.error(f"there is no row {', '.join(unknown)}")
    require_h2load()
    with ExitStack() as cleanup:
        bench = Bench(cleanup, options.seconds)
        _measure_rows(bench, _choose(names), options.rounds)
        if MEMORY in names:
            print(f"\n{memory.measure(bench, options.minutes)}")


def _choose(names: list[str]) -> list[Row]:
    """Return the rows of these names, in the order of the table. A number means all rows with that number."""
    return [row for row in ROWS if row.name in names or re.sub(r"\D", "", row.name) in names]


def _measure_rows(bench: Bench, rows: list[Row], count: int) -> None:
    """Measure so many rounds of each row, and print the table. If a row fails, those before it are printed."""
    measured: dict[Row, list[Round]] = {}
    try:
        for row in rows:
            with bench.contenders():
                rounds = [_measure(bench, row, number) for number in range(count)]
            measured[row] = rounds
    finally:
        if measured:
            print(f"\n{format_table(measured, bench.seconds)}")
        if unsteady := list_unsteady(measured):
            print(f"\nMeasure again, because the ratios differ by a factor over {STEADY}: {', '.join(unsteady)}")


def _measure(bench: Bench, row: Row, number: int) -> Round:
    bench.round = number
    measured = row.measure(bench)
    print(f"row {row.name}, round {number + 1}: {measured.ratio:.2f}; {measured.detail}", file=sys.stderr, flush=True)
    return measured


if __name__ == "__main__":
    main()
