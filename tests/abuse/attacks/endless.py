"""Calls that do not end by themselves."""

import itertools

from tests.abuse.attacks.registry import Register
from tests.abuse.caller import ALL, GRPC, JSON, Caller
from tests.abuse.http1 import make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import make_batch, make_create, make_event, make_search, prefix

attacks = Register()

CONNECTIONS, STREAMS = 4, 255
_CREATE, _BATCH, _SEARCH = make_create(), make_batch([make_event()]), make_search()
_RPCS = [_CREATE.rpc, _CREATE.rpc, _BATCH.rpc, _SEARCH.rpc]


@attacks("1020 unary calls whose stream ends before a whole message", *GRPC)
async def end_before_the_message(caller: Caller) -> None:
    kinds = itertools.cycle(itertools.product(_RPCS, (b"", prefix(b"abc", size=100), b"\0\0")))

    async def call(connection: Http2) -> None:
        rpc, data = next(kinds)
        stream = connection.open(rpc)
        await connection.send(stream, data, ended=True)
        caller.counts["open"] += 1
        caller.counts[await connection.reply(stream)] += 1

    await caller.repeat_calls(CONNECTIONS, STREAMS, call, pause=1)


@attacks("1020 unary calls whose message never comes", *ALL)
async def never_end(caller: Caller) -> None:
    async def post() -> None:
        async with caller.http1() as connection:
            await connection.send(make_head("POST", _CREATE.path, 1_000) + b"{")
            caller.counts["open"] += 1
            caller.counts[await connection.read_status()] += 1

    if caller.door is JSON:
        await caller.repeat(CONNECTIONS * STREAMS, post)

    kinds = itertools.cycle(itertools.product(_RPCS, (b"", prefix(b"abc", size=100))))

    async def call(connection: Http2) -> None:
        rpc, data = next(kinds)
        stream = connection.open(rpc)
        await connection.send(stream, data)
        caller.counts["open"] += 1
        caller.counts[await connection.reply(stream)] += 1

    await caller.repeat_calls(CONNECTIONS, STREAMS, call, pause=1)


async def _hold_streams(caller: Caller, rpc: str, message: bytes) -> None:
    async def call(connection: Http2) -> None:
        stream = connection.open(rpc)
        await connection.send(stream, message)
        caller.counts["open"] += 1
        caller.counts[await connection.reply(stream)] += 1

    await caller.repeat_calls(4, 250, call, pause=1)


@attacks("1000 health watches", *GRPC)
async def watch(caller: Caller) -> None:
    await _hold_streams(caller, "/grpc.health.v1.Health/Watch", prefix(b""))


@attacks("1000 reflection streams held open", *GRPC)
async def hold_reflection(caller: Caller) -> None:
    # The message asks for the list of services.
    await _hold_streams(caller, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", prefix(b"\x3a\x00"))
