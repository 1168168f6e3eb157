"""Write streams that hold their places."""

import asyncio

from tests.abuse.attacks.registry import Register
from tests.abuse.caller import GRPC, Caller
from tests.abuse.http2 import Http2
from tests.abuse.requests import WRITE, make_chunk, make_event

attacks = Register()

_CHUNK = make_chunk([make_event()] * 100)


@attacks("one connection with 64 idle write streams and then more", *GRPC)
async def hold_idle_streams(caller: Caller) -> None:
    async def hold(connection: Http2) -> None:
        while not connection.lost.is_set():
            stream = connection.open(WRITE)
            caller.counts["open"] += 1
            caller.counts[await connection.reply(stream)] += 1
            await asyncio.sleep(0.2)

    async def act() -> None:
        async with caller.http2() as connection, asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(hold(connection))
                await asyncio.sleep(0 if number < 64 else 0.05)

    await caller.repeat(1, act)


@attacks("100 write streams that send a byte a second", *GRPC)
async def drip(caller: Caller) -> None:
    async def call(connection: Http2) -> None:
        stream = connection.open(WRITE)
        for place in range(len(_CHUNK)):
            await connection.send(stream, _CHUNK[place : place + 1])
            caller.counts["bytes sent"] += 1
            await asyncio.sleep(1)
            if connection.is_ended(stream):
                break
        caller.counts[await connection.reply(stream)] += 1

    await caller.repeat_calls(4, 25, call, pause=0.2)


@attacks("60 write streams that do not read their responses", *GRPC)
async def leave_responses_unread(caller: Caller) -> None:
    refused = make_chunk([{}] * 1_000)

    async def act() -> None:
        async with caller.http2(reads=False) as connection:
            stream = connection.open(WRITE)
            for _ in range(1_000):
                await connection.send(stream, refused)
                caller.counts["sent"] += 1
                await asyncio.sleep(0.1)
            caller.counts[await connection.reply(stream)] += 1

    await caller.repeat(60, act)
