"""Rows with their goals, what a round of one measured, and the table of all."""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tests.bench.bench import Bench
from tests.bench.load import Load

STEADY = 1.5
"""How far the greatest ratio of a row may be from the least, as a factor, before it should be measured again."""


class Round(NamedTuple):
    """One round of a row."""

    ratio: float
    detail: str
    """The measurements behind the ratio."""
    cost_ratio: float | None = None
    """For a comparison of rates, the baseline's processor time for an event against ours. Others who use the machine
    disturb it less than they disturb rates."""


class Goal(NamedTuple):
    """A bound on a ratio."""

    ratio: float
    at_most: bool = False

    def is_met(self, ratio: float) -> bool:
        """Return whether a ratio, rounded as it is shown, keeps the bound."""
        shown = round(ratio, 2)
        return shown <= self.ratio if self.at_most else shown >= self.ratio

    def __str__(self) -> str:
        return f"{'at most' if self.at_most else 'at least'} {self.ratio:g}"


class Row(NamedTuple):
    """A comparison."""

    name: str
    """A number, perhaps with a letter."""
    what: str
    goal: Goal
    measure: Callable[[Bench], Round]
    """Measures one round."""


def compare_rates(ours: Load, baseline: Load, events: int = 1) -> Round:
    """Return the ratio of two rates, of requests of so many events."""
    detail = f"{format_load(ours, events)} against {format_load(baseline, events)}; h2load used {ours.cores:.2f} cores"
    cost_ratio = sum(baseline.costs.values()) / sum(ours.costs.values())
    return Round(ours.rate / baseline.rate, detail, cost_ratio)


def format_load(load: Load, events: int = 1) -> str:
    """Return a rate of events, and the processor time of each."""
    return f"{load.rate * events:,.0f}/s ({format_costs(load, events)})"


def format_costs(load: Load, events: int = 1) -> str:
    """Return the processor time of an event: of each part, and in all if there are several parts."""
    costs = {part: cost / events for part, cost in load.costs.items() if cost > 0}
    digits = 1 if events > 1 else 0
    parts = ", ".join(f"{part} {cost:.{digits}f}" for part, cost in costs.items())
    return f"{parts} µs" if len(costs) < 2 else f"{parts}, together {sum(costs.values()):.{digits}f} µs"


def format_table(measured: Mapping[Row, Sequence[Round]], seconds: float) -> str:
    """Return the table of all rows as Markdown."""
    counts = sorted({len(rounds) for rounds in measured.values()})
    lines = [
        f"{os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, {counts[-1]} rounds of {seconds:g} s a side",
        "",
        "| row | what is compared | ratio | least to greatest | goal | | by processor time | the median round |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row, rounds in measured.items():
        ordered = sorted(rounds, key=lambda round_: round_.ratio)
        middle = ordered[len(ordered) // 2]
        verdict = "met" if row.goal.is_met(middle.ratio) else "missed"
        costs = _format_spread([round_.cost_ratio for round_ in rounds if round_.cost_ratio is not None])
        spread = f"{ordered[0].ratio:.2f} to {ordered[-1].ratio:.2f}"
        cells = (row.name, row.what, f"{middle.ratio:.2f}", spread, str(row.goal), verdict, costs, middle.detail)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _format_spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""


def list_unsteady(measured: Mapping[Row, Sequence[Round]]) -> list[str]:
    """Return the names of the rows whose ratios differ too much to be trusted."""
    return [
        row.name
        for row, rounds in measured.items()
        if max(round_.ratio for round_ in rounds) > STEADY * min(round_.ratio for round_ in rounds)
    ]
