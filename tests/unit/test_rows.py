"""Many events as rows at once, against one by one."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from storage import Event, encode_row, encode_rows, make_ids_and_times
from storage.event import TEXT_COUNT, format_time
from tests.support.hostile import TROUBLE

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4) | st.sampled_from(
    ["", "\t", "\n", "\r", "\\", "\\N", "\\.", "a\tb\\c\nd\re", *(text for text in TROUBLE if "\0" not in text)]
)
VERSION_INFO = st.none() | st.sampled_from(["{}", '{"a":"b"}', '{"a":"\\"\\\\\\n"}'])
EVENTS: Any = st.tuples(*[TEXT] * TEXT_COUNT, VERSION_INFO, *[TEXT] * 3).map(Event._make)


@given(st.lists(EVENTS, max_size=3))
def test_many_events_have_the_same_rows_as_one_by_one(events: list[Event]) -> None:
    assert encode_rows(events) == list(map(encode_row, events))


def test_ids_made_together_ascend_and_their_times_are_inside_them() -> None:
    # So many take several milliseconds.
    ids, times = make_ids_and_times(50_000)
    assert len(set(times)) > 1
    assert ids == sorted(set(ids))
    assert times == [format_time(int(each.replace("-", "")[:12], 16)) for each in ids]


def test_ids_made_together_may_have_one_time_or_be_none() -> None:
    (made,), (time,) = make_ids_and_times(1)
    assert time == format_time(int(made.replace("-", "")[:12], 16))
    assert make_ids_and_times(0) == ([], [])
