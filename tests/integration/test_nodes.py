"""What the nodes of a cluster do to a writer that a single PostgreSQL does not, each caused by a trigger or a setting.

On a cluster, the same is seen with real nodes: see `tests/integration/test_citus.py`.
"""

import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from storage import (
    Erasure,
    Event,
    EventRefused,
    EventStore,
    ExportQuery,
    KeyReused,
    ListQuery,
    NodeUnavailable,
    Outcome,
    Query,
    encode_rows,
    search_sql,
    selection,
)
from storage.copier import SESSION, Copier
from storage.ids import FIRST, LAST
from tests.support.database import as_server, backends, execute, query
from tests.support.reading import run_with
from tests.support.until import until
from tests.support.writing import COPIER, make_event, read_messages

# Citus says so of whatever a node refuses in a COPY: of a key that is stored, and of a text that is no JSON.
HIDES_REASONS = """
CREATE FUNCTION hide_reasons() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF current_query() LIKE '%COPY%' THEN
    RAISE EXCEPTION 'it failed' USING ERRCODE = 'internal_error';
  ELSIF NEW.message = 'refused' THEN
    RAISE EXCEPTION 'it is refused' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER hide_reasons BEFORE INSERT ON analytics_event FOR EACH ROW EXECUTE FUNCTION hide_reasons();
"""

# Citus says so of a node that is away, on a connection to another one that goes on.
IS_AWAY = """
CREATE FUNCTION be_away() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.customer_id LIKE 'away %' THEN
    RAISE EXCEPTION 'the node is away' USING ERRCODE = 'connection_failure';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER be_away BEFORE INSERT ON analytics_event FOR EACH ROW EXECUTE FUNCTION be_away();
"""

LIST = ListQuery("zones", (), FIRST, LAST, 10)


@pytest.fixture
def copier(own_database_url: str) -> Iterator[Copier]:
    """Yield a writer of batches that has connected."""
    copier = Copier(as_server(own_database_url))
    write(copier, [make_event("first")])
    yield copier
    copier.close()


def write(copier: Copier, events: list[Event]) -> list[Outcome]:
    return copier.write(encode_rows(events), time.monotonic())


def test_each_event_gets_its_outcome_though_a_copy_hides_it(copier: Copier, own_database_url: str) -> None:
    stored = [make_event("a", str(number), f"key {number}") for number in range(3)]
    write(copier, stored)
    execute(own_database_url, HIDES_REASONS)
    again = make_event("a", "0", "key 0")
    reused = make_event("a", "another", "key 1")
    refused = make_event("b", "refused", "key 1")
    new = [make_event("b", "new", "key 2"), make_event("a", "without a key")]
    outcomes = write(copier, [again, reused, refused, *new])
    assert outcomes[0] == stored[0]
    assert [type(each) for each in outcomes[1:3]] == [KeyReused, EventRefused]
    assert outcomes[3:] == new
    assert write(copier, [again]) == [stored[0]]
    assert read_messages(own_database_url, "b") == ["new"]


def test_a_node_that_is_away_costs_customers_of_others_nothing(copier: Copier, own_database_url: str) -> None:
    backend = backends(own_database_url, COPIER)
    execute(own_database_url, IS_AWAY)
    for number in range(3):
        here = [make_event(f"here {customer}", str(number), f"key {number}") for customer in range(4)]
        away = [make_event(f"away {customer}", str(number), f"key {number}") for customer in range(2)]
        outcomes = write(copier, [here[0], away[0], *here[1:], away[1]])
        assert [outcomes[0], *outcomes[2:5]] == here
        assert [type(outcomes[1]), type(outcomes[5])] == [NodeUnavailable] * 2
    assert backends(own_database_url, COPIER) == backend

    execute(own_database_url, "DROP TRIGGER be_away ON analytics_event")
    event = make_event("away 0", "back", "key 0")
    until(lambda: write(copier, [event]) == [event])
    assert query(own_database_url, "SELECT count(*), count(DISTINCT customer_id) FROM analytics_event") == [(14, 6)]


def test_times_are_in_utc_whatever_the_time_zone_of_a_node(
    own_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for settings in (SESSION, search_sql.SESSION, selection.SESSION):
        monkeypatch.setitem(settings, "timezone", "Asia/Kolkata")
    event = make_event("zones", "message", "key")

    async def read(store: EventStore) -> None:
        await store.start()
        assert await store.write(encode_rows([event])) == [event]
        assert await store.write(encode_rows([event._replace(id=make_event("").id)])) == [event]
        (found,) = (await store.find(Query("zones", "lead", "entity", "user", ["recording"], False, 1, 10))).events
        assert (found.created_at, found.updated_at) == (event.created_at, event.updated_at)
        position = await store.begin_watch("zones")
        assert (await store.list_events(LIST)).events == [event]
        exported = await store.begin_export(ExportQuery("zones", (), FIRST, LAST))
        assert (await exported.read()).events == [event]
        receipt = await store.erasures.begin(Erasure("zones", created_before=event.created_at), "test")
        assert receipt.created_before == event.created_at
        assert abs(parse(receipt.created_at) - time.time()) < 1_000
        later = make_event("zones", "later")
        await store.write(encode_rows([later]))
        assert (await store.watch(LIST, position)).events == [later]

    run_with(lambda: EventStore(as_server(own_database_url)), read)


def parse(text: str) -> float:
    """Return the seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()
