"""A short run of `make chaos`: what is acknowledged stays stored, once, whatever is killed."""

from pathlib import Path

from tests.chaos.__main__ import run
from tests.chaos.faults import FAULTS, HARMLESS
from tests.support.stack import running
from tests.support.template import Template

CAUSED = ["a worker is killed", "the postmaster is killed", "Envoy is killed", *HARMLESS]


def test_the_service_recovers_by_itself_and_loses_nothing_acknowledged(tmp_path: Path, template: Template) -> None:
    with running(template.copy_to(tmp_path / "stack")) as stack:
        faults = {name: FAULTS[name] for name in CAUSED}
        load, rounds, verdict = run(stack.wait_until_up(), len(faults), 1, faults, pause=0.02)
    assert not any(verdict), verdict
    assert load.unexpected == []
    assert len(load.receipts) > 1_000
    # Generous: it is about whether a caller would still be retrying, not about speed.
    assert all(each.outage < 30 for each in rounds)
    assert [each for each in rounds if each.name in HARMLESS and each.failures] == []
