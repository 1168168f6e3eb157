"""What the reader of JSON accepts is stored, digit by digit."""

import asyncio
import json
import random
from decimal import Decimal
from typing import Any

from server.ingest.group_commit import GroupCommit
from server.messages.convert import ANALYTICS
from server.messages.json_codec.create import CreateReader
from server.messages.json_codec.strict import Unreadable
from server.messages.refusals import InvalidRequest
from storage import Event
from tests.support import json_oracle
from tests.support.database import query
from tests.support.writing import One, run_with_commits

READER = CreateReader(ANALYTICS)
REQUIRED = '"user_id":"u","recording_id":"r","event_type":"v","entity_type":"lead","entity_id":"e"'

NUMBERS = (
    *("1.50", "-0", "0.0", "1E5", "1e99", "-1e99", "9.99e99", "1e-98", "0.1e-98", "1" + "0" * 99, "0." + "1" * 99),
    *("123456789012345678901234567890", "0e999999", "0E+999999", "1e0000000000099", "0." + "0" * 9_000 + "1e9001"),
    *("1" + "0" * 99 + "e0", "0.5e-0", "-0.0e-50"),
)


def make_body(customer: str, version_info: str) -> bytes:
    return f'{{"customer_id":"{customer}",{REQUIRED},"version_info":{version_info}}}'.encode()


def store(url: str, events: list[Event]) -> None:
    async def write(commits: GroupCommit) -> None:
        await asyncio.gather(*[commits.write(One(event)) for event in events])

    run_with_commits(url, write)


def load(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def test_every_accepted_number_is_stored_with_its_digits(database_url: str, customer: str) -> None:
    event, _ = READER.read(make_body(customer, f'{{"a":[{",".join(NUMBERS)}]}}'))
    store(database_url, [event])
    ((stored,),) = query(
        database_url, "SELECT version_info::text FROM analytics_event WHERE customer_id = %s", customer
    )
    assert load(stored) == {"a": list(map(Decimal, NUMBERS))}
    assert stored.startswith('{"a": [1.50, 0, 0.0, 100000, 1000')


def test_whatever_is_accepted_is_stored(database_url: str, customer: str) -> None:
    rng = random.Random(1)
    events: dict[str, Event] = {}
    while len(events) < 500:
        body = json_oracle.mutate(rng, json_oracle.make_random_event(rng))
        try:
            texts, version_info, _ = READER.fields.read(body)
            filled = dict(zip(READER.fields.names, texts, strict=True))
            filled |= {"customer_id": customer, "entity_type": "lead", "idempotency_key": ""}
            required = ("user_id", "recording_id", "event_type", "entity_id")
            filled |= {name: filled[name] or "x" for name in required}
            event = ANALYTICS.make_event(tuple(filled[name] for name in READER.fields.names), version_info)
        except (InvalidRequest, Unreadable):
            continue
        events[event.id] = event
    store(database_url, list(events.values()))
    rows = query(
        database_url,
        "SELECT id::text, message, version_info::text FROM analytics_event WHERE customer_id = %s",
        customer,
    )
    assert {row[0]: row[1] for row in rows} == {event.id: event.message for event in events.values()}
    for identifier, _, stored in rows:
        sent = events[identifier].version_info
        assert (stored is None) == (sent is None)
        assert stored is None or load(stored) == load(str(sent))
