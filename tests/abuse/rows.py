"""The table: a row for each attack, with its verdict."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tests.abuse.victim import RATES, Sample
from tests.abuse.vitals import Memory

MAX_SLOWDOWN = 3
LEAST_MILLISECONDS = 50.0
"""A p99 below this is never too slow: alone it is a few milliseconds, and here the attacker's client has its share of
the machine."""
MAX_MEMORY = Memory(worker=256, envoy=512)
MAX_GROWTH = 1.2
"""What a process may have after the attack, as a multiple of what it had before."""

HEAD = (
    "| what the attacker does | verdict | victim's failures | p99 in ms alone → meanwhile: "
    + ", ".join(RATES)
    + " | worker, MiB: before, most, after | Envoy, MiB | slowest health check, ms | what the attacker got |\n"
    + "|---" * 8
    + "|"
)


def p99(samples: Iterable[Sample]) -> Mapping[str, float]:
    """Return the 99th percentile in milliseconds for each kind of request, whether it failed or not."""
    found = {}
    ordered = sorted(samples, key=lambda sample: sample.seconds)
    for kind in RATES:
        times = [sample.seconds for sample in ordered if sample.kind == kind]
        found[kind] = 1e3 * times[math.ceil(0.99 * len(times)) - 1] if times else math.inf
    return found


class Row(NamedTuple):
    """What one attack did."""

    name: str
    alone: Mapping[str, float]
    """p99 in milliseconds for each kind of request."""
    samples: Sequence[Sample]
    """Of the victim, during the attack and up to the end of what is measured after it."""
    meanwhile: Mapping[str, float]
    before: Memory
    peak: Memory
    after: Memory
    probe: float
    """The seconds of the slowest health check."""
    deaths: bool
    """Whether a process has ended."""
    errors: Sequence[str]
    """What the service has logged as its own bugs."""
    done: Sequence[tuple[str, int]]
    """What the attacker got, and how often, the most frequent first."""
    remark: str = ""

    @property
    def failures(self) -> "Counter[str]":
        """The victim's failures by kind of request and status."""
        return Counter(f"{sample.kind} {sample.failure}" for sample in self.samples if sample.failure)

    def misses(self) -> list[str]:
        """Return what does not hold."""
        slow = [
            kind
            for kind, limit in self.alone.items()
            if self.meanwhile[kind] > max(MAX_SLOWDOWN * limit, LEAST_MILLISECONDS)
        ]
        found = {
            self.remark: bool(self.remark),
            "a process died": self.deaths,
            "an exception in the log": bool(self.errors),
            "failures": bool(self.failures),
            f"p99 of {', '.join(slow)}": bool(slow),
            "memory of a worker": self.peak.worker >= MAX_MEMORY.worker,
            "memory of Envoy": self.peak.envoy >= MAX_MEMORY.envoy,
            "worker not back": self.after.worker > MAX_GROWTH * self.before.worker,
            "Envoy not back": self.after.envoy > MAX_GROWTH * self.before.envoy,
        }
        return [what for what, is_so in found.items() if is_so]

    def leaves_a_mark(self) -> bool:
        """Return whether the processes are not what they were before."""
        return (
            bool(self.remark)
            or self.deaths
            or any(now > MAX_GROWTH * old for now, old in zip(self.after, self.before, strict=True))
        )

    def format(self) -> str:
        """Return its line of the table."""
        failures = f"{sum(self.failures.values())} of {len(self.samples)}"
        if self.failures:
            failures += f" ({_list(self.failures.most_common())})"
        times = ", ".join(f"{self.alone[kind]:.0f} → {self.meanwhile[kind]:.0f}" for kind in RATES)
        worker, envoy = (
            ", ".join(f"{memory[part]:.0f}" for memory in (self.before, self.peak, self.after)) for part in (0, 1)
        )
        verdict = "; ".join(self.misses()) or "holds"
        return (
            f"| {self.name} | {verdict} | {failures} | {times} | {worker} | {envoy} | {1e3 * self.probe:.0f} "
            f"| {_list(self.done[:4])} |"
        )


def _list(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} × {what}" for what, count in counts)
