"""Rows through the real COPY and INSERT: every text comes back as it was, and no customer is taken for another."""

import time
import unicodedata
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage import TEXT_COUNT, Event, EventStore, Query, encode_row, encode_rows, make_id_and_time
from storage.copier import Copier
from tests.support.database import as_server
from tests.support.writing import One, make_event, run_with_commits

# All that PostgreSQL can hold, and often what COPY or SQL gives a meaning.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("\\\t\n\r\b\f\v'\"$%;,{}.N\x7f\u2028"),
    max_size=8,
)
TEXTS = st.tuples(*[TEXT] * TEXT_COUNT)
_COLUMNS = ", ".join(f'"{name}"' for name in Event._fields[:TEXT_COUNT])


@pytest.fixture(scope="module")
def written(database_url: str) -> Iterator[tuple[Copier, Any]]:
    """Yield a copier in the server's role, and a cursor of the owner's."""
    copier = Copier(as_server(database_url))
    connection = psycopg2.connect(database_url)
    connection.autocommit = True
    yield copier, connection.cursor()
    connection.close()
    copier.close()


def make_row_texts(texts: list[tuple[str, ...]]) -> list[Event]:
    """Return events with these texts. Their keys, which are unique, are empty."""
    events = []
    for each in texts:
        event_id, now = make_id_and_time()
        events.append(Event._make((*each[:-1], "", None, event_id, now, now)))
    return events


@settings(max_examples=200)
@given(st.lists(TEXTS, min_size=1, max_size=4))
@example([("\\.",) * TEXT_COUNT, ("\\N",) * TEXT_COUNT, ("",) * TEXT_COUNT])
@example([("'); DROP TABLE analytics_event; --",) * TEXT_COUNT])
def test_every_text_comes_back_from_copy_as_it_was(written: tuple[Copier, Any], texts: list[tuple[str, ...]]) -> None:
    copier, cursor = written
    events = make_row_texts(texts)
    others = make_row_texts(texts)
    rows = [*encode_rows(events), *map(encode_row, others)]
    assert copier.write(rows, time.monotonic()) == [*events, *others]
    for event in (*events, *others):
        cursor.execute(f"SELECT {_COLUMNS} FROM analytics_event WHERE id = %s", [event.id])
        assert cursor.fetchall() == [event[:TEXT_COUNT]]


ALIKE = [
    "Café İ",
    unicodedata.normalize("NFD", "Café İ"),
    "café i\u0307",
    "CAFÉ İ",
    "Café İ ",
    " Café İ",
    "Café\u200b İ",
    "Café\u00a0İ",
    "Cafe I",
    "Café I",
    "Café ı",
    "Café İ\n",
    "Café İ%",
    "Caf_ İ",
    "Café İ\\",
    "\ufeffCafé İ",
]


def test_customers_are_told_apart_byte_by_byte(database_url: str, written: tuple[Copier, Any], customer: str) -> None:
    customers = [customer + each for each in ALIKE]
    assert len(set(customers)) == len(ALIKE)

    async def write_and_find(commits: Any) -> list[list[str]]:
        for number, each in enumerate(customers):
            # With the same keys and ids for all of them, by INSERT and by COPY.
            await commits.write(One(make_event(each, str(number), "key")))
        copied = [make_event(each, str(number), "other key") for number, each in enumerate(customers)]
        assert written[0].write(encode_rows(copied), time.monotonic()) == copied
        searches = EventStore(as_server(database_url))
        pages = [
            await searches.find(Query(each, "lead", "entity", "user", ["recording"], False, 1, 100))
            for each in customers
        ]
        await searches.close()
        assert [page.total for page in pages] == [2] * len(customers)
        return [[event.message for event in page.events] for page in pages]

    found = run_with_commits(database_url, write_and_find)
    assert found == [[str(number)] * 2 for number in range(len(customers))]
