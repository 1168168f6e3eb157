"""What takes the event loop's time: deep work on few bytes, refusals by the thousand, replays, conflicts."""

import asyncio
import itertools

from google.protobuf.struct_pb2 import ListValue, Struct, Value

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    CreateAnalyticsEventRequest,
)
from tests.abuse.attacks.registry import Register
from tests.abuse.caller import ALL, GRPC, JSON, Caller
from tests.abuse.http1 import make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import WRITE, Request, make_batch, make_create, make_event, make_raw_batch

attacks = Register()

RATE = 24
"""How many batches of empty events a second."""
_EMPTY = make_raw_batch(b'{"events":[' + b",".join([b"{}"] * 1_000) + b"]}", b"\x0a\x00" * 1_000)


def make_nested_batch() -> Request:
    """Return a batch of nearly 8 MiB whose version_info is full of empty lists."""
    # As JSON an event may have 1 MiB.
    event = b'{"customer_id":"attacker","version_info":{"a":[' + b",".join([b"[]"] * 345_000) + b"]}}"
    body = b'{"events":[' + b",".join([event] * 8) + b"]}"
    lists = Value(list_value=ListValue(values=[Value(list_value=ListValue())] * 2_000_000))
    nested = CreateAnalyticsEventRequest(customer_id="attacker", version_info=Struct(fields={"a": lists}))
    return make_raw_batch(body, BatchCreateAnalyticsEventsRequest(events=[nested]).SerializeToString())


@attacks("batches of 8 MB of empty lists in version_info one after another", *ALL)
async def send_nested(caller: Caller) -> None:
    await caller.ask(make_nested_batch(), connections=1)


@attacks("a create of 1 MB of empty lists in version_info one after another", *ALL)
async def create_nested(caller: Caller) -> None:
    await caller.ask(make_create(version_info={"a": [[]] * 250_000}), connections=1)


@attacks("24 batches a second of 1000 empty events", *ALL)
async def send_empty_events(caller: Caller) -> None:
    head = make_head("POST", _EMPTY.path, len(_EMPTY.json))

    async def post() -> None:
        async with caller.http1() as connection:
            while True:
                await connection.send(head + _EMPTY.json)
                caller.counts[await connection.read_status()] += 1
                await asyncio.sleep(4 / RATE)

    async def call(connection: Http2) -> None:
        caller.counts[await connection.call(_EMPTY.rpc, _EMPTY.message)] += 1

    if caller.door is JSON:
        await caller.repeat(4, post)
    await caller.repeat_calls(4, 1, call, pause=4 / RATE)


@attacks("24 chunks a second of 1000 empty events on write streams", *GRPC)
async def stream_empty_events(caller: Caller) -> None:
    async def call(connection: Http2) -> None:
        stream = connection.open(WRITE)
        for _ in range(RATE):
            await connection.send(stream, _EMPTY.message)
            caller.counts["sent"] += 1
            await asyncio.sleep(4 / RATE)
        await connection.send(stream, b"", ended=True)
        caller.counts[await connection.reply(stream)] += 1

    await caller.repeat_calls(4, 1, call)


@attacks("batches of 8 MB of opening brackets one after another", JSON)
async def nest_without_end(caller: Caller) -> None:
    body = b'{"events":[{"version_info":{"a":' + b"[" * 8_380_000
    await caller.ask(make_raw_batch(body, b""), connections=1)


@attacks("a create of 1 MB of unknown fields one after another", JSON)
async def name_unknown_fields(caller: Caller) -> None:
    fields = b",".join(b'"custmer_id%d":1' % number for number in range(45_000))
    await caller.ask(make_create()._replace(json=b"{" + fields + b"}"), connections=1)


@attacks("batches of 8 MB of unknown fields one after another", JSON)
async def name_unknown_fields_of_events(caller: Caller) -> None:
    event = b"{" + b",".join(b'"custmer_id%d":1' % number for number in range(400)) + b"}"
    await caller.ask(make_raw_batch(b'{"events":[' + b",".join([event] * 1_000) + b"]}", b""), connections=1)


@attacks("creates with a number of a million digits one after another", JSON)
async def send_a_long_number(caller: Caller) -> None:
    body = make_create(version_info={"n": 7}).json.replace(b"7", b"7" * 1_000_000)
    await caller.ask(make_create()._replace(json=body), connections=1)


@attacks("batches of 500 that are hung up on", *ALL)
async def hang_up_on_batches(caller: Caller) -> None:
    batch = make_batch([make_event()] * 500)
    head = make_head("POST", batch.path, len(batch.json))

    async def post() -> None:
        async with caller.http1() as connection:
            await connection.send(head + batch.json)
            await asyncio.sleep(0.01)
            caller.counts["hung up"] += 1

    async def call(connection: Http2) -> None:
        stream = connection.open(batch.rpc)
        await connection.send(stream, batch.message, ended=True)
        await asyncio.sleep(0.01)
        connection.reset(stream)
        caller.counts["hung up"] += 1

    if caller.door is JSON:
        await caller.repeat(20, post)
    await caller.repeat_calls(1, 20, call, pause=0.05)


@attacks("replays of batches full of 1e99", *ALL)
async def replay_large_numbers(caller: Caller) -> None:
    numbers = {"n": [1e99] * 3_000}
    events = [make_event(version_info=numbers, idempotency_key=f"{caller.door}-{number}") for number in range(180)]
    await caller.ask(make_batch(events), connections=2)


@attacks("replays of one batch of 1000 events by 20 callers", *ALL)
async def replay(caller: Caller) -> None:
    events = [make_event(idempotency_key=f"small-{number}") for number in range(1_000)]
    await caller.ask(make_batch(events), connections=20)


@attacks("batches by 4 callers of 1000 events with the same key", *ALL)
async def repeat_a_key(caller: Caller) -> None:
    events = [make_event(idempotency_key="same", message=f"{number}") for number in range(1_000)]
    await caller.ask(make_batch(events), connections=4)


@attacks("creates by 200 callers with the same key", *ALL)
async def share_a_key(caller: Caller) -> None:
    await caller.ask(make_create(idempotency_key="shared"), connections=4, streams=50)


@attacks("creates by 20 callers with 150 KB of headers", *ALL)
async def send_large_headers(caller: Caller) -> None:
    headers = itertools.starmap(lambda n, _: (b"x-%d" % n, b"y" * 15_000), enumerate(range(10)))
    await caller.ask(make_create(), *headers, connections=20)
