"""Searches that cost much: far pages, many rows to count, and nobody who waits for the answer."""

import asyncio

from tests.abuse.attacks.registry import Register
from tests.abuse.caller import ALL, JSON, Caller
from tests.abuse.http1 import make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import make_search
from tests.abuse.seed import Seed

attacks = Register()

MANY = Seed("many", 200_000)
_SEARCH = make_search(recording_id=[MANY.recording])


@attacks("12 searches at a time for page 10000000", *ALL, seed=MANY)
async def ask_for_a_far_page(caller: Caller) -> None:
    await caller.ask(make_search(recording_id=[MANY.recording], page=10_000_000), connections=12)


@attacks("12 searches at a time for the last page of 200000 events", *ALL, seed=MANY)
async def ask_for_the_last_page(caller: Caller) -> None:
    await caller.ask(make_search(recording_id=[MANY.recording], page=200, page_size=1_000), connections=12)


@attacks("12 searches at a time of 500 recordings", *ALL, seed=MANY)
async def ask_for_all_recordings(caller: Caller) -> None:
    recordings = [MANY.recording, *(f"recording {number}" * 15 for number in range(499))]
    await caller.ask(make_search(recording_id=recordings, latest=True), connections=12)


@attacks("12 searches at a time with 40000 unknown parameters", JSON)
async def name_unknown_parameters(caller: Caller) -> None:
    search = make_search()
    await caller.ask(search._replace(path=search.path + "&led" * 40_000), connections=12)


@attacks("searches of 200000 events that are hung up on", *ALL, seed=MANY)
async def hang_up(caller: Caller) -> None:
    async def get() -> None:
        async with caller.http1() as connection:
            await connection.send(make_head("GET", _SEARCH.path, 0))
            await asyncio.sleep(0.05)
            caller.counts["hung up"] += 1

    async def call(connection: Http2) -> None:
        stream = connection.open(_SEARCH.rpc)
        await connection.send(stream, _SEARCH.message, ended=True)
        await asyncio.sleep(0.05)
        connection.reset(stream)
        caller.counts["hung up"] += 1

    if caller.door is JSON:
        await caller.repeat(20, get)
    await caller.repeat_calls(1, 20, call, pause=0.05)
