"""The ids of events, and the times in them, when the clock of the machine is not right."""

import time
import uuid

import pytest

from storage.event import format_time, make_id_and_time, make_ids_and_times
from storage.ids import get_milliseconds

YEAR_SECONDS = 365 * 86_400


def set_clock_back(monkeypatch: pytest.MonkeyPatch, seconds: float) -> float:
    """Let the process see an earlier time than that of the ids it has made. Return that time."""
    now = time.time() - seconds
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "time_ns", lambda: int(now * 1_000_000_000))
    return now


def test_ids_ascend_and_have_the_time_of_the_clock() -> None:
    before = int(time.time() * 1000)
    ids, times = make_ids_and_times(1_000)
    one, _ = make_id_and_time()
    assert sorted(ids) == ids
    assert ids[-1] < one
    assert before <= get_milliseconds(ids[0]) <= get_milliseconds(one) <= time.time() * 1000
    assert len(times) == 1_000


def test_a_clock_that_is_set_back_a_little_keeps_ids_ascending(monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = make_id_and_time()
    set_clock_back(monkeypatch, 2)
    second, _ = make_id_and_time()
    assert second > first


def test_after_a_moment_in_the_future_events_have_the_right_time_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_id_and_time()
    now = set_clock_back(monkeypatch, YEAR_SECONDS)
    event_id, created_at = make_id_and_time()
    ids, times = make_ids_and_times(10)
    assert [get_milliseconds(each) for each in (event_id, *ids)] == [int(now * 1000)] * 11
    assert {created_at, *times} == {format_time(int(now * 1000))}
    assert sorted(ids) == ids
    assert all(uuid.UUID(each).version == 7 for each in ids)
    assert len([record for record in caplog.records if "clock" in record.getMessage()]) == 1
