"""Counting events that come as columns."""

import subprocess
import sys

import numpy as np
import pytest

from storage.columns import ColumnMaker, Events
from storage.counting import Counter
from storage.errors import SummaryTooLarge
from storage.model import hash_text
from tests.support.processes import ROOT


def make_events(users: list[str], recordings: list[str]) -> Events:
    """Return events of one moment."""
    columns = {}
    for name, texts in (("user_id", users), ("recording_id", recordings)):
        maker = ColumnMaker()
        maker.add(texts)
        columns[name] = maker.make()
    return Events(len(users), 0, np.zeros(len(users), np.int64), columns)


def test_events_that_differ_too_much_are_not_counted() -> None:
    counter = Counter(["recording_id"], [], 0, 1, most=4)
    counter.add(make_events(["a", "a", "b", "b"] * 10, ["x", "y", "x", "y"] * 10))
    counter.add(make_events(["a"] * 9, ["x"] * 9))
    with pytest.raises(SummaryTooLarge):
        counter.add(make_events(["a", "a", "a"], ["z", "v", "w"]))


def test_the_same_values_on_many_days_take_no_more_room() -> None:
    counter = Counter(["recording_id"], [], 0, 1, most=5)
    for _ in range(20):
        counter.add(make_events(["a", "b", "a", "b"], ["x", "y", "y", "x"]))
    counts = counter.finish(1)
    assert (counts.events, counts.users, counts.has_more) == (80, 2, True)
    assert counts.groups == [(40, 2, 19, 3)]


@pytest.mark.parametrize("different", [1, 255, 256, 257, 65_536, 65_537])
def test_columns_have_room_for_each_number_of_texts(different: int) -> None:
    maker = ColumnMaker()
    maker.add(map(str, range(different)))
    maker.add(["0"])
    codes, hashes = maker.make()
    assert len(set(codes.tolist())) == len(set(hashes.tolist())) == different
    assert [hash_text(str(number)) for number in (*range(different), 0)] == hashes[codes].tolist()
    assert maker.size == sum(len(str(number)) for number in range(different))


def test_nothing_is_counted_of_no_events() -> None:
    counts = Counter([], [], 0, 1).finish(10)
    assert counts == ([], 0, 0, False)


def test_the_group_with_the_newest_event_comes_first() -> None:
    counter = Counter(["recording_id"], [], 0, 1)
    counter.add(make_events(["a", "a", "a"], ["x", "y", "x"]))
    counter.add(make_events(["b", "a"], ["y", "z"]))
    counts = counter.finish(2)
    assert [(group.events, group.users, group.source, group.place) for group in counts.groups] == [
        (2, 2, 1, 0),
        (2, 1, 0, 2),
    ]
    assert (counts.events, counts.users, counts.has_more) == (5, 2, True)


def test_no_worker_loads_numpy_before_its_first_summary() -> None:
    program = "import sys, server.__main__, server.app; print([name for name in sys.modules if 'numpy' in name])"
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
