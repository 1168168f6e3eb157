"""Tokens of watches: they say a position exactly, and nothing that the database would refuse."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.messages.page_token import seal, unseal
from server.messages.watch_token import TokenMaker, read_token
from storage import Snapshot, WatchPosition

ASKED = ("watch", "customer")
TIMES = st.integers(0, 2**48)
IDS = st.uuids().map(str)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    first = draw(st.integers(1, 2**62))
    running = sorted(draw(st.sets(st.integers(first, first + 2**31), max_size=20)))
    return Snapshot(first, draw(st.integers(1, 9)) + (running[-1] if running else first), tuple(running))


POSITIONS = st.builds(
    WatchPosition,
    system=st.integers(-(2**63), 2**63 - 1),
    timeline=st.integers(1, 2**32 - 1),
    seen=snapshots(),
    upto=st.none() | snapshots(),
    upto_at=TIMES,
    last_id=IDS,
    floor_at=TIMES,
    mark_at=TIMES,
    mark=st.integers(1, 2**63),
)


@given(POSITIONS, IDS)
def test_a_token_says_the_position_or_the_one_behind_an_event(position: WatchPosition, event_id: str) -> None:
    maker = TokenMaker(position, ASKED)
    assert read_token(maker.make(), ASKED) == position
    assert read_token(maker.make(event_id), ASKED) == position._replace(last_id=event_id)
    assert read_token(maker.make(), (*ASKED, "more")) is None
    for snapshot in (position.seen, position.upto or position.seen):
        assert Snapshot.parse(str(snapshot)) == snapshot


POSITION = WatchPosition(1, 1, Snapshot(5, 9, (5, 7)), None, 0, "0" * 8 + "-0000" * 3 + "-" + "0" * 12, 1, 2, 3)


@given(st.binary(max_size=200))
def test_what_is_no_position_is_no_token(body: bytes) -> None:
    position = read_token(seal(body, ASKED), ASKED)
    assert position is None or TokenMaker(position, ASKED).make() == seal(body, ASKED)


@pytest.mark.parametrize("snapshot", [(0, 5, ()), (5, 9, (5, 5)), (5, 7, (5, 7)), (5, 9, (9,)), (2**63 - 2, 2**63, ())])
def test_a_snapshot_that_the_database_would_refuse_is_none(snapshot: tuple[int, int, tuple[int, ...]]) -> None:
    token = TokenMaker(POSITION._replace(seen=Snapshot(*snapshot)), ASKED).make()
    assert read_token(token, ASKED) is None
    assert read_token(TokenMaker(POSITION, ASKED).make(), ASKED) == POSITION


def test_a_token_that_is_cut_or_has_more_is_none() -> None:
    body = unseal(TokenMaker(POSITION, ASKED).make(), ASKED)
    assert body is not None
    for changed in (body[:-1], body + b"\0", body[:40], b""):
        assert read_token(seal(changed, ASKED), ASKED) is None


def test_a_token_fits_into_a_request_however_many_transactions_run() -> None:
    for count, has_token in ((350, True), (351, False)):
        snapshot = Snapshot(1, 10_000, tuple(range(1, 2 * count, 2)))
        token = TokenMaker(POSITION._replace(seen=snapshot, upto=snapshot), ASKED).make()
        assert bool(token) == has_token
        assert len(token) <= 4_096
