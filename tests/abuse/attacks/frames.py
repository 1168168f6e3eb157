"""What HTTP itself allows: tiny pieces, pings, requests without a look at the answers, headers without end."""

import asyncio

from tests.abuse.attacks.registry import Register
from tests.abuse.caller import GRPC, JSON, Caller
from tests.abuse.headers import CONTINUATION, encode_headers
from tests.abuse.http1 import make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import BATCH_BYTES, EVENT_BYTES, make_create, make_raw_batch
from tests.support.http2 import DATA, PING, make_frame

attacks = Register()

_CREATE = make_create()
_LARGE = make_create(message="m" * (EVENT_BYTES - 1_000))


@attacks("50 connections of headers without end", *GRPC)
async def never_end_the_headers(caller: Caller) -> None:
    block = encode_headers(b"POST", _CREATE.rpc.encode(), ())
    more = encode_headers(b"POST", b"/", [(b"x", b"y" * 16_000)])[-16_000:]

    async def act() -> None:
        async with caller.http2() as connection:
            stream = connection.open_raw(block, ended=False, complete=False)
            caller.counts["open"] += 1
            while not connection.lost.is_set():
                connection.write(make_frame(CONTINUATION, 0, stream, more))
                await asyncio.sleep(0.02)

    await caller.repeat(50, act)


@attacks("calls that are reset at once", *GRPC)
async def reset_at_once(caller: Caller) -> None:
    async def act() -> None:
        async with caller.http2() as connection:
            while not connection.lost.is_set():
                for _ in range(50):
                    stream = connection.open(_CREATE.rpc)
                    await connection.send(stream, _CREATE.message, ended=True)
                    connection.reset(stream)
                    caller.counts["reset"] += 1
                await asyncio.sleep(0.01)

    await caller.repeat(4, act)


@attacks("20 connections of pings", *GRPC)
async def ping(caller: Caller) -> None:
    pings = make_frame(PING, 0, 0, bytes(8)) * 100

    async def act() -> None:
        async with caller.http2() as connection:
            while not connection.lost.is_set():
                connection.write(pings)
                caller.counts["pings"] += 100
                await asyncio.sleep(0.01)

    await caller.repeat(20, act)


@attacks("20 batches at a time of 8 MiB in pieces of a byte", *GRPC)
async def send_bytes(caller: Caller) -> None:
    # The prefix and the start of one field, which the rest fills.
    start = make_raw_batch(b"", bytes(BATCH_BYTES)).message[:16_384]

    async def call(connection: Http2) -> None:
        stream = connection.open("/data_analytics.v1.AnalyticsEventService/BatchCreateAnalyticsEvents")
        await connection.send(stream, start)
        await connection.send_singly(stream, b"\0", BATCH_BYTES + 5 - len(start))
        caller.counts["sent"] += 1
        await connection.send(stream, b"", ended=True)
        caller.counts[await connection.reply(stream)] += 1

    await caller.repeat_calls(20, 1, call)


@attacks("20 creates at a time of 1 MiB in chunks of a byte", JSON)
async def send_chunks(caller: Caller) -> None:
    head = make_head("POST", _LARGE.path, 0).replace(b"content-length: 0", b"transfer-encoding: chunked")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in _LARGE.json) + b"0\r\n\r\n"

    async def post() -> None:
        async with caller.http1() as connection:
            while True:
                await connection.send(head + chunks)
                caller.counts[await connection.read_status()] += 1

    await caller.repeat(20, post)


@attacks("20 streams of empty frames", *GRPC)
async def send_empty_frames(caller: Caller) -> None:
    async def call(connection: Http2) -> None:
        stream = connection.open(_CREATE.rpc)
        while not connection.is_ended(stream):
            connection.write(make_frame(DATA, 0, stream) * 100)
            caller.counts["frames"] += 100
            await asyncio.sleep(0.01)
        caller.counts[await connection.reply(stream)] += 1

    await caller.repeat_calls(20, 1, call)


@attacks("20 connections of creates whose answers nobody reads", JSON)
async def leave_answers_unread(caller: Caller) -> None:
    creates = (make_head("POST", _CREATE.path, len(_CREATE.json)) + _CREATE.json) * 100

    async def post() -> None:
        async with caller.http1() as connection:
            while True:
                await connection.send(creates)
                caller.counts["sent"] += 100

    await caller.repeat(20, post)
