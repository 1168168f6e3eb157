"""A short run of the second table of `make chaos`: what one caller does costs no other a request, nor the machine."""

import asyncio
from collections.abc import Iterator

import pytest

from server.event_loop import make_event_loop
from tests.abuse.rows import MAX_MEMORY
from tests.abuse.run import Target, started

SECONDS = 1.0


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Run a stack of its own, because what is measured is the memory of its processes."""
    with started(tmp_path_factory.mktemp("stack")) as target:
        yield target


@pytest.mark.open_files(4_000)
@pytest.mark.parametrize(
    "attack",
    [
        "1020 unary calls whose stream ends before a whole message (gRPC by Envoy)",
        "1000 health watches (gRPC to workers)",
        "60 compressed creates at a time of 47 MiB each (JSON)",
        "24 batches a second of 1000 empty events (JSON)",
        "20 streams of empty frames (gRPC by Envoy)",
    ],
)
def test_an_attack_costs_another_customer_no_request(target: Target, attack: str) -> None:
    with asyncio.Runner(loop_factory=make_event_loop) as runner:
        row = runner.run(target.attack(attack, SECONDS, settle=0.0))
    assert row.remark == ""
    assert row.done, "the attacker did nothing"
    assert row.samples, "the victim did nothing"
    assert row.failures == {}
    assert row.errors == []
    assert not row.deaths
    assert row.peak.worker < MAX_MEMORY.worker
    assert row.peak.envoy < MAX_MEMORY.envoy
