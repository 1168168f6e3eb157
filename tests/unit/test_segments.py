"""Segments: where the values of a segment are is found in its index, also when it is made of smaller ones."""

import json
import random
import uuid
from collections import defaultdict
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.event_columns import ReadEvents
from storage.segment_making import Index, merge
from storage.segment_making import make as make_indexes
from storage.segments import BUCKETS, ENTRY_BYTES, MOST, find_bucket, find_places, make_prefix

Rows = list[tuple[str, str]]
"""Of each event, the values by which it can be found."""

VALUES = ("", "a", "b", "\x00", "\u00e9", "\U0001f600" * 255)


def make(rows: Sequence[tuple[str, str]], step: int = 700) -> tuple[bytes, list[Index]]:
    """Return the ids and the indexes of a segment that is read in steps."""
    read = ReadEvents(2)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        ids = b"".join(uuid.UUID(int=start + at).bytes for at in range(len(part)))
        assert read.add(ids, list(map(json.dumps, zip(*part, strict=True)))) == str(uuid.UUID(int=start + len(part)))
    assert read.number == len(rows)
    return read.ids, make_indexes(read)


def find(index: Index, value: str) -> list[int] | None:
    """Return the places of a value, as a list finds them."""
    bucket = find_bucket(value)
    return find_places(index.entries[index.starts[bucket] : index.starts[bucket + 1]], value)


def make_rows(seed: int, number: int) -> Rows:
    """Return rows with values of which some are in many rows."""
    chance = random.Random(seed)
    often = [*VALUES, *map(str, range(20))]
    weights = [1, 300, *[chance.choice((1, 10, 100)) for _ in often[2:]]]
    columns = [chance.choices(often, weights, k=number), [str(chance.randrange(5_000)) for _ in range(number)]]
    return list(zip(*columns, strict=True))


@given(st.integers(0, 1_000), st.integers(0, 6_000))
def test_each_value_has_its_places_unless_there_are_many(seed: int, number: int) -> None:
    rows = make_rows(seed, number)
    ids, indexes = make(rows)
    assert ids == b"".join(uuid.UUID(int=at).bytes for at in range(number))
    for column, index in enumerate(indexes):
        assert len(index.starts) == BUCKETS + 1
        assert index.starts == sorted(index.starts)
        places = defaultdict(list)
        for place, row in enumerate(rows):
            places[row[column]].append(place)
        for value in {*places, *VALUES, "nothing"}:
            assert find(index, value) == (places[value] if len(places[value]) <= MOST else None)


@given(st.integers(0, 1_000), st.lists(st.integers(0, 2_500), min_size=1, max_size=5))
def test_merged_segments_are_as_if_made_at_once(seed: int, numbers: list[int]) -> None:
    rows = make_rows(seed, sum(numbers))
    parts = [rows[sum(numbers[:at]) : sum(numbers[: at + 1])] for at in range(len(numbers))]
    made = [make(part)[1] for part in parts]
    for column, index in enumerate(make(rows)[1]):
        assert merge([(len(part), each[column].entries) for part, each in zip(parts, made, strict=True)]) == index


@pytest.mark.parametrize("number", [MOST, MOST + 1])
def test_a_value_has_as_many_places_as_it_may_have(number: int) -> None:
    _, (index, _) = make([("a", str(at)) for at in range(number)])
    assert find(index, "a") == (list(range(number)) if number == MOST else None)
    assert len(index.entries) == (number if number == MOST else 1) * ENTRY_BYTES


@given(st.integers(0, 1_000))
def test_the_prefix_of_a_value_leads_to_its_entries(seed: int) -> None:
    rows = make_rows(seed, 3_000)
    for column, index in enumerate(make(rows)[1]):
        for value in {row[column] for row in rows[:50]}:
            bucket = index.entries[index.starts[find_bucket(value)] : index.starts[find_bucket(value) + 1]]
            at = bucket.find(make_prefix(value)) // ENTRY_BYTES * ENTRY_BYTES
            assert at >= 0
            assert find_places(bucket[at:], value) == find_places(bucket, value)
