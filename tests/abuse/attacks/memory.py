"""What takes memory: refusals that keep their request, compressed bodies, uploads and pages that stop halfway."""

import asyncio

from tests.abuse.attacks.registry import Register
from tests.abuse.caller import ALL, ENVOY, GRPC, JSON, WORKER, Caller
from tests.abuse.headers import encode_headers
from tests.abuse.http1 import make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import (
    BATCH_BYTES,
    EVENT_BYTES,
    WRITE,
    Request,
    compress,
    make_create,
    make_large_batch,
    make_raw_batch,
    make_search,
    prefix,
)
from tests.abuse.seed import Seed

attacks = Register()

UNPACKED_BYTES = 47 << 20
_GZIP = {JSON: (b"content-encoding", b"gzip"), ENVOY: (b"grpc-encoding", b"gzip"), WORKER: (b"grpc-encoding", b"gzip")}
_LARGE_PAGE = make_search(recording_id=["large"], page_size=240)


@attacks("refused creates with a message of 1 MB one after another", *ALL)
async def refuse_large(caller: Caller) -> None:
    await caller.ask(make_create(message="m" * 1_000_000), connections=1)


@attacks("60 compressed creates at a time of 47 MiB each", *ALL)
async def unpack_creates(caller: Caller) -> None:
    await caller.ask(compress(make_create(message="m" * UNPACKED_BYTES)), _GZIP[caller.door], connections=60)


@attacks("30 compressed batches at a time of 8 MiB each", *ALL)
async def unpack_batches(caller: Caller) -> None:
    await caller.ask(compress(make_large_batch()), _GZIP[caller.door], connections=30)


async def _stall(caller: Caller, request: Request, count: int, *pairs: tuple[bytes, bytes]) -> None:
    """Send all of a request but its last byte, that many times."""

    async def post() -> None:
        async with caller.http1() as connection:
            await connection.send(make_head("POST", request.path, len(request.json), *pairs) + request.json[:-1])
            caller.counts["stalled"] += 1
            caller.counts[await connection.read_status()] += 1

    async def call(connection: Http2) -> None:
        stream = connection.open(request.rpc, *pairs)
        await connection.send(stream, request.message[:-1])
        caller.counts["stalled"] += 1
        caller.counts[await connection.reply(stream)] += 1

    if caller.door is JSON:
        await caller.repeat(count, post)
    await caller.repeat_calls(count, 1, call)


@attacks("150 batches of 8 MiB less their last byte", *ALL)
async def stall_batches(caller: Caller) -> None:
    await _stall(caller, make_large_batch(), 150)


@attacks("150 creates of 1 MiB less their last byte", *ALL)
async def stall_creates(caller: Caller) -> None:
    await _stall(caller, make_create(message="m" * (EVENT_BYTES - 1_000)), 150)


@attacks("30 calls that stall at 43 MiB and say that Envoy has sent them", *GRPC)
async def stall_in_disguise(caller: Caller) -> None:
    message = prefix(bytes(43 << 20), size=45 << 20)
    disguise = [(b"x-from-json", b"1"), (b"x-envoy-original-path", b"/api/v1/analytics_events:batch")]
    await _stall(caller, make_raw_batch(b"", b"")._replace(message=message), 30, *disguise)


@attacks("30 chunks of 8 MiB less their last byte on write streams", *GRPC)
async def stall_chunks(caller: Caller) -> None:
    await _stall(caller, make_raw_batch(b"", bytes(BATCH_BYTES - 1))._replace(rpc=WRITE), 30)


@attacks("50 callers of whole batches of 8 MiB", *ALL)
async def send_whole(caller: Caller) -> None:
    await caller.ask(make_large_batch(), connections=50)


@attacks("80 callers that do not read their pages of 15 MiB", *ALL, seed=Seed("large", 240, 64_000))
async def leave_pages_unread(caller: Caller) -> None:
    async def get() -> None:
        async with caller.http1() as connection:
            await connection.send(make_head("GET", _LARGE_PAGE.path, 0))
            caller.counts["asked"] += 1
            await asyncio.sleep(3_600)

    async def call() -> None:
        async with caller.http2(reads=False) as connection:
            stream = connection.open(_LARGE_PAGE.rpc)
            await connection.send(stream, _LARGE_PAGE.message, ended=True)
            caller.counts["asked"] += 1
            caller.counts[await connection.reply(stream)] += 1

    await caller.repeat(80, get if caller.door is JSON else call)


@attacks("80 callers by HTTP/2 that do not read their pages of 15 MiB", JSON, seed=Seed("large", 240, 64_000))
async def leave_pages_unread_over_http2(caller: Caller) -> None:
    block = encode_headers(b"GET", _LARGE_PAGE.path.encode(), ())

    async def get() -> None:
        async with caller.http2(reads=False) as connection:
            stream = connection.open_raw(block, ended=True)
            caller.counts["asked"] += 1
            caller.counts[await connection.reply(stream)] += 1

    await caller.repeat(80, get)
