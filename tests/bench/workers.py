"""How many workers two cores want for creates by JSON: one, two that share the load, or one hot and one standby."""

import re
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from tests.bench.bench import Bench
from tests.bench.bodies import CREATE_PATH, LEAD
from tests.bench.contenders import Contender, running_envoy, running_stack
from tests.bench.load import Load

_CALLERS = (64, 8, 1)
_ENDPOINTS = re.compile(r"^( *)- lb_endpoints:.*\n((?: *- endpoint: .*\n?)+)", re.MULTILINE)


def keep_both(configuration: str) -> str:
    """Return a configuration of Envoy as it is."""
    return configuration


def keep_one(configuration: str) -> str:
    """Return a configuration of Envoy with the first worker alone."""
    return _edit_endpoints(configuration, lambda indent, first, second: f"{indent}- lb_endpoints:\n{first}")


def make_standby(configuration: str) -> str:
    """Return a configuration of Envoy in which the second worker is called only while the first is not healthy."""
    return _edit_endpoints(
        configuration,
        lambda indent, first, second: (
            f"{indent}- lb_endpoints:\n{first}{indent}- priority: 1\n{indent}  lb_endpoints:\n{second}"
        ),
    )


ARRANGEMENTS: dict[str, Callable[[str], str]] = {
    "two workers": keep_both,
    "one worker": keep_one,
    "one hot, one standby": make_standby,
}


def compare(bench: Bench, rounds: int) -> str:
    """Return the table of all arrangements, in front of the same two workers, as Markdown."""
    with ExitStack() as cleanup:
        _, stack = cleanup.enter_context(running_stack(bench.directory / "stack", bench.url))
        envoys = {
            name: cleanup.enter_context(running_envoy(stack, edit, bench.directory))
            for name, edit in ARRANGEMENTS.items()
        }
        loads: dict[int, list[Sequence[Load]]] = {callers: [] for callers in _CALLERS}
        for bench.round in range(rounds):
            for callers in _CALLERS:
                loads[callers].append(_measure(bench, list(envoys.values()), callers))
                print(f"workers, round {bench.round + 1}, {callers} callers", file=sys.stderr, flush=True)
    lines = [
        "| callers | arrangement | a second | p50, ms | p99, ms | Envoy, µs | server, µs | PostgreSQL, µs | all, µs "
        "| all, against two | a second, against two |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for callers, measured in loads.items():
        first = [each[0] for each in measured]
        for number, name in enumerate(ARRANGEMENTS):
            lines.append(_format(callers, name, [each[number] for each in measured], first))
    return "\n".join(lines)


def _measure(bench: Bench, envoys: Sequence[Contender], callers: int) -> Sequence[Load]:
    def load(envoy: Contender) -> Load:
        return bench.check_stored(bench.json(envoy, CREATE_PATH, LEAD, connections=callers))

    return bench.alternate(*(lambda envoy=envoy: load(envoy) for envoy in envoys))


def _edit_endpoints(configuration: str, edit: Callable[[str, str, str], str]) -> str:
    found = _ENDPOINTS.findall(configuration)
    lines = [line for _, text in found for line in text.splitlines(keepends=True)]
    if len(found) != 1 or len(lines) != 2:
        sys.exit("envoy.yaml should have one group of endpoints, with both workers")
    indent, _ = found[0]
    return _ENDPOINTS.sub(lambda _: edit(indent, *lines), configuration)


def _format(callers: int, name: str, loads: Sequence[Load], first: Sequence[Load]) -> str:
    def median(get: Callable[[Load], float]) -> float:
        return statistics.median(map(get, loads))

    def ratio(get: Callable[[Load], float]) -> str:
        ratios = sorted(get(load) / get(other) for load, other in zip(loads, first, strict=True))
        return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"

    costs = [statistics.median(load.costs[part] for load in loads) for part in ("Envoy", "server", "PostgreSQL")]
    cells = [str(callers), name, f"{median(_get_rate):,.0f}"]
    cells += [f"{median(lambda load: load.p50) / 1000:.2f}", f"{median(lambda load: load.p99) / 1000:.1f}"]
    cells += [*(f"{cost:.0f}" for cost in costs), f"{median(_get_cost):.0f}", ratio(_get_cost), ratio(_get_rate)]
    return f"| {' | '.join(cells)} |"


def _get_rate(load: Load) -> float:
    return load.rate


def _get_cost(load: Load) -> float:
    return sum(load.costs.values())
