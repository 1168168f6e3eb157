"""Floods: as many ordinary requests as one customer can send, all at once and again and again."""

import asyncio

from tests.abuse.attacks.registry import Register
from tests.abuse.caller import ALL, GRPC, JSON, Caller
from tests.abuse.http1 import make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import WRITE, make_batch, make_chunk, make_create, make_event, make_search

attacks = Register()


@attacks("a flood of creates by 1000 callers", *ALL)
async def create(caller: Caller) -> None:
    await caller.ask(make_create(), connections=10, streams=100)


@attacks("a flood of creates by 1000 callers for 100 customers", *ALL)
async def create_for_many(caller: Caller) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            request = make_create(f"attacker {number}")
            group.create_task(caller.ask(request, connections=1, streams=10))


@attacks("a flood of searches by 1000 callers", *ALL)
async def search(caller: Caller) -> None:
    await caller.ask(make_search(), connections=10, streams=100)


@attacks("a flood of batches of 500 by 100 callers", *ALL)
async def batch(caller: Caller) -> None:
    await caller.ask(make_batch([make_event()] * 500), connections=10, streams=10)


@attacks("a flood of refused creates by 1000 callers", *ALL)
async def refuse(caller: Caller) -> None:
    await caller.ask(make_create(user_id=""), connections=10, streams=100)


@attacks("a flood of unknown routes by 200 callers", *ALL)
async def ask_for_nothing(caller: Caller) -> None:
    unknown = make_create()._replace(path="/nowhere", rpc="/data_analytics.v1.LeadAnalyticsService/Nothing")
    await caller.ask(unknown, connections=4, streams=50)


@attacks("a flood of chunks of 500 on 30 write streams", *GRPC)
async def stream(caller: Caller) -> None:
    chunk = make_chunk([make_event()] * 500)

    async def send(connection: Http2) -> None:
        opened = connection.open(WRITE)
        for _ in range(1_000):
            await connection.send(opened, chunk)
            caller.counts["sent"] += 1
            if connection.is_ended(opened):
                break
        await connection.send(opened, b"", ended=True)
        caller.counts[await connection.reply(opened)] += 1

    await caller.repeat_calls(3, 10, send, pause=0.05)


@attacks("a flood of connections by 100 callers with a create on each", *ALL)
async def connect(caller: Caller) -> None:
    request = make_create()
    head = make_head("POST", request.path, len(request.json))

    async def act() -> None:
        if caller.door is JSON:
            async with caller.http1() as connection:
                await connection.send(head + request.json)
                caller.counts[await connection.read_status()] += 1
        else:
            async with caller.http2() as opened:
                caller.counts[await opened.call(request.rpc, request.message)] += 1

    await caller.repeat(100, act)
