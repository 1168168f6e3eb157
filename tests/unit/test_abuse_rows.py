"""The verdicts in the second table of `make chaos`."""

import pytest

from tests.abuse.rows import HEAD, Row, p99
from tests.abuse.victim import CREATE, RATES, SEARCH, Sample
from tests.abuse.vitals import Memory

_FINE = Row(
    name="an attack",
    alone=dict.fromkeys(RATES, 20.0),
    samples=[Sample(CREATE, 0.0, 0.02, "")],
    meanwhile=dict.fromkeys(RATES, 60.0),
    before=Memory(80, 70),
    peak=Memory(255, 511),
    after=Memory(96, 84),
    probe=0.01,
    deaths=False,
    errors=[],
    done=[("201", 1_000)],
)


def test_a_row_at_the_limits_holds() -> None:
    assert _FINE.misses() == []
    assert not _FINE.leaves_a_mark()
    assert _FINE.format().count(" | ") == HEAD.splitlines()[0].count(" | ")


@pytest.mark.parametrize(
    ("change", "miss"),
    [
        ({"samples": [Sample(SEARCH, 0.0, 0.02, "503")]}, "failures"),
        ({"meanwhile": dict.fromkeys(RATES, 60.0) | {SEARCH: 60.1}}, "p99 of search"),
        ({"peak": Memory(256, 511)}, "memory of a worker"),
        ({"peak": Memory(255, 512)}, "memory of Envoy"),
        ({"after": Memory(96.1, 84)}, "worker not back"),
        ({"after": Memory(96, 84.1)}, "Envoy not back"),
        ({"deaths": True}, "a process died"),
        ({"errors": ["Traceback"]}, "an exception in the log"),
        ({"remark": "the attacker failed"}, "the attacker failed"),
    ],
)
def test_a_row_names_what_does_not_hold(change: dict[str, object], miss: str) -> None:
    assert _FINE._replace(**change).misses() == [miss]  # type: ignore[arg-type] # each is of its field's type


def test_a_slowdown_to_less_than_50_ms_does_not_count() -> None:
    row = _FINE._replace(alone=dict.fromkeys(RATES, 2.0), meanwhile=dict.fromkeys(RATES, 49.0))
    assert row.misses() == []


def test_the_p99_of_a_kind_without_requests_is_endless() -> None:
    samples = [Sample(CREATE, 0.0, milliseconds / 1e3, "") for milliseconds in range(1, 201)]
    found = p99(samples)
    assert found[CREATE] == pytest.approx(198)
    assert found[SEARCH] == float("inf")
