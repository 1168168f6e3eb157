"""A short run of `make chaos`: what is acknowledged stays, once, whatever is killed."""

from pathlib import Path

from tests.chaos.__main__ import run
from tests.chaos.faults import HARMLESS
from tests.support.stack import running

FAULTS = [
    "a worker is killed",
    "the postmaster is killed",
    "Envoy is killed",
    *HARMLESS,
]


def test_nothing_acknowledged_is_lost_or_doubled_and_the_service_is_back_by_itself(tmp_path: Path) -> None:
    with running(tmp_path / "stack") as stack:
        load, rounds, verdict = run(stack.wait_until_up(), len(FAULTS), 1, FAULTS)
    assert not any(verdict), verdict
    assert load.wrong == []
    assert len(load.receipts) > 1_000
    # No test asserts a time, but one that a caller would give up at is none of the service's.
    assert all(each.back < 30 for each in rounds)
    assert [each for each in rounds if each.name in HARMLESS and each.failures] == []
