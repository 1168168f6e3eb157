"""The events of a watch: each once, whenever its transaction is committed."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg2
import pytest

from storage import Event, ListQuery, PositionLost
from storage.ids import FIRST, LAST, make_bound
from storage.rows import COLUMNS, INTO
from storage.snapshot import Snapshot, WatchPosition
from storage.watching import Watches
from tests.support.database import as_server
from tests.support.reading import run_with
from tests.support.writing import make_event

_INSERT = f"INSERT INTO {INTO} VALUES ({', '.join(['%s'] * len(COLUMNS))})"
COLUMNS_OF_OTHERS = {name: name for name in COLUMNS} | {"user_id": "'other'"}
_KEY = "00000000-0000-0000-0000-000000000000"


def make_query(customer: str, size: int = 100, **filters: str) -> ListQuery:
    return ListQuery(customer, tuple(filters.items()), FIRST, LAST, size)


def use_watches(url: str, work: Callable[[Watches], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `work` with watches in the role of a server."""
    run_with(lambda: Watches(as_server(url), **options), work)


async def read_all(
    watches: Watches, asked: ListQuery, position: WatchPosition, most: int = 100
) -> tuple[list[Event], WatchPosition]:
    """Return the events up to a snapshot that is taken now, and the position behind them."""
    events: list[Event] = []
    for _ in range(most):
        step = await watches.advance(asked, position)
        assert len(step.events) <= asked.page_size
        events += step.events
        position = step.position
        if position.upto is None:
            return events, position
    raise AssertionError("the watch does not come to an end")


def insert(connection: Any, *events: Event) -> None:
    with connection.cursor() as cursor:
        for event in events:
            cursor.execute(_INSERT, (*event, _KEY))


@contextlib.contextmanager
def connected(url: str) -> Any:
    """Yield a connection that begins a transaction at its first statement."""
    with contextlib.closing(psycopg2.connect(url)) as connection:
        yield connection


def test_an_event_is_new_once_it_is_committed_however_old_its_id(database_url: str, customer: str) -> None:
    asked = make_query(customer)

    async def use(watches: Watches) -> None:
        with connected(database_url) as late, connected(database_url) as quick:
            early = make_event(customer)
            insert(late, early)
            position = await watches.begin(customer)
            between = [make_event(customer) for _ in range(3)]
            insert(quick, *between)
            quick.commit()
            found, position = await read_all(watches, asked, position)
            assert found == between
            for _ in range(3):
                found, position = await read_all(watches, asked, position)
                assert not found
            late.commit()
            found, position = await read_all(watches, asked, position)
            assert found == [early]
            assert not (await read_all(watches, asked, position))[0]

    use_watches(database_url, use)


def test_events_of_many_writers_are_each_new_once(database_url: str, customer: str) -> None:
    """The transactions overlap, some are undone, and the pages are so small that intervals take several."""
    asked = make_query(customer, 7)
    committed: list[str] = []
    is_over = threading.Event()

    def write(seed: int) -> None:
        chance = random.Random(seed)
        with connected(database_url) as connection:
            for _ in range(25):
                events = [make_event(customer, "m" * chance.randrange(2_000)) for _ in range(chance.randrange(1, 12))]
                is_over.wait(chance.random() ** 4 * 0.2)
                insert(connection, *events)
                is_over.wait(chance.random() ** 4 * 0.2)
                if chance.random() < 0.1:
                    connection.rollback()
                else:
                    connection.commit()
                    committed.extend(event.id for event in events)

    async def use(watches: Watches) -> None:
        position = await watches.begin(customer)
        writers = [threading.Thread(target=write, args=(seed,)) for seed in range(6)]
        for writer in writers:
            writer.start()
        found: list[str] = []
        while any(writer.is_alive() for writer in writers):
            step = await watches.advance(asked, position)
            position = step.position
            found += [event.id for event in step.events]
        rest, _ = await read_all(watches, asked, position, 1_000)
        found += [event.id for event in rest]
        assert sorted(found) == sorted(committed)

    use_watches(database_url, use, max_bytes=4_000)


def test_a_watch_finds_what_was_committed_before_it_went_on(database_url: str, customer: str) -> None:
    """Its position is all that it needs, also within an interval, whatever is committed meanwhile."""
    asked = make_query(customer, 2)

    async def use(watches: Watches) -> None:
        position = await watches.begin(customer)
        with connected(database_url) as connection:
            first = [make_event(customer) for _ in range(5)]
            insert(connection, *first)
            connection.commit()
            step = await watches.advance(asked, position)
            assert step.events == first[:2]
            later = make_event(customer)
            insert(connection, later)
            connection.commit()
        found, position = await read_all(watches, asked, step.position)
        assert found == first[2:]
        assert (await read_all(watches, asked, position))[0] == [later]

    use_watches(database_url, use)


def test_a_watch_goes_through_many_events_in_steps(database_url: str, customer: str) -> None:
    """Those that other filters want are passed over, and none is left out at the border of two steps."""
    asked = make_query(customer, user_id="rare")

    async def use(watches: Watches) -> None:
        position = await watches.begin(customer)
        with connected(database_url) as connection:
            events = []
            for _ in range(3):
                events.append(make_event(customer)._replace(user_id="rare"))
                await asyncio.sleep(0.002)  # The first halves of their ids differ.
            first, model, last = events
            insert(connection, first, model, last)
            others = COLUMNS_OF_OTHERS | {"id": "(left(id::text, 24) || lpad(to_hex(number), 12, '0'))::uuid"}
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {INTO} SELECT {', '.join(others.values())}"
                    " FROM analytics_event CROSS JOIN generate_series(1, 45000) AS number WHERE id = %s",
                    (model.id,),
                )
                cursor.execute("DELETE FROM analytics_event WHERE id = %s", (model.id,))
            connection.commit()
        step = await watches.advance(asked, position)
        assert [event.id for event in step.events] == [first.id]
        assert step.position.upto is not None
        found, _ = await read_all(watches, asked, step.position)
        assert [event.id for event in found] == [last.id]

    use_watches(database_url, use)


def test_a_watch_of_some_events_finds_those_alone(database_url: str, customer: str) -> None:
    async def use(watches: Watches) -> None:
        position = await watches.begin(customer)
        events = [make_event(customer)._replace(user_id=user, event_type=kind) for user in "ab" for kind in "xy"]
        stranger = make_event(f"{customer} other")
        with connected(database_url) as connection:
            insert(connection, *events, stranger)
            connection.commit()
        expectations: list[tuple[dict[str, str], list[Event]]] = [
            ({}, events),
            ({"user_id": "a"}, events[:2]),
            ({"user_id": "b", "event_type": "y"}, events[3:]),
            ({"tool_signature": "t"}, []),
        ]
        for filters, expected in expectations:
            found, _ = await read_all(watches, make_query(customer, 100, **filters), position)
            assert found == expected
        bounded = make_query(customer)._replace(since_id=events[1].id, before_id=events[3].id)
        assert (await read_all(watches, bounded, position))[0] == events[1:3]

    use_watches(database_url, use)


def test_what_is_erased_before_it_is_found_is_not_found(database_url: str, customer: str) -> None:
    async def use(watches: Watches) -> None:
        position = await watches.begin(customer)
        events = [make_event(customer) for _ in range(3)]
        with connected(database_url) as connection:
            insert(connection, *events)
            connection.commit()
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM analytics_event WHERE id = %s", (events[1].id,))
            connection.commit()
        assert (await read_all(watches, make_query(customer), position))[0] == [events[0], events[2]]

    use_watches(database_url, use)


def test_large_events_come_one_after_the_other(database_url: str, customer: str) -> None:
    async def use(watches: Watches) -> None:
        position = await watches.begin(customer)
        events = [make_event(customer, "m" * 65_000) for _ in range(4)]
        with connected(database_url) as connection:
            insert(connection, *events)
            connection.commit()
        step = await watches.advance(make_query(customer), position)
        assert step.events == events[:1]
        assert (await read_all(watches, make_query(customer), step.position))[0] == events[1:]

    use_watches(database_url, use, max_bytes=70_000)


def test_a_long_transaction_of_others_does_not_hold_the_watch(database_url: str, customer: str) -> None:
    """What began after it is found. And while it runs, the watch looks no further back than it must."""

    async def use(watches: Watches) -> None:
        with connected(database_url) as foreign, connected(database_url) as writer:
            with foreign.cursor() as cursor:
                cursor.execute("SELECT pg_current_xact_id()")
            position = await watches.begin(customer)
            for _ in range(3):
                event = make_event(customer)
                insert(writer, event)
                writer.commit()
                found, position = await read_all(watches, make_query(customer), position)
                assert found == [event]
            held = position.floor_at
            foreign.rollback()
            for _ in range(2):
                _, position = await read_all(watches, make_query(customer), position)
            assert position.floor_at > held
            patient = position._replace(floor_at=0, mark=2**62)
            _, position = await read_all(watches, make_query(customer), patient)
            assert position.last_id > make_bound(patient.mark_at - 800_000)

    use_watches(database_url, use)


@pytest.mark.parametrize("change", ["system", "timeline", "behind"])
def test_a_position_of_another_database_is_lost(database_url: str, customer: str, change: str) -> None:
    async def use(watches: Watches) -> None:
        position = await watches.begin(customer)
        seen = position.seen
        lost = {
            "system": position._replace(system=position.system + 1),
            "timeline": position._replace(timeline=position.timeline + 1),
            "behind": position._replace(seen=Snapshot(seen.next + 9, seen.next + 9, ())),
        }[change]
        with pytest.raises(PositionLost):
            await watches.advance(make_query(customer), lost)

    use_watches(database_url, use)
