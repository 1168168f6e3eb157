"""Connections that say nothing, or next to nothing."""

import asyncio

from tests.abuse.attacks.registry import Register
from tests.abuse.caller import ALL, JSON, WORKER, Caller
from tests.abuse.http1 import make_head
from tests.abuse.http2 import Http2
from tests.abuse.requests import EVENT_BYTES, make_create
from tests.support.http2 import PREFACE

attacks = Register()

_PORTS = (JSON, WORKER)
_COUNT = {JSON: 1_100, WORKER: 2_200}
"""To each process its 1,100."""
_LARGE = make_create(message="m" * (EVENT_BYTES - 1_000))


async def _hold(caller: Caller, start: bytes, rest: bytes = b"") -> None:
    """Hold connections that send `start`, and then a byte of `rest` each second."""

    async def read(reader: asyncio.StreamReader) -> None:
        while await reader.read(1 << 12):
            pass
        raise ConnectionResetError

    async def drip(writer: asyncio.StreamWriter) -> None:
        for byte in rest:
            writer.write(bytes([byte]))
            await asyncio.sleep(1)

    async def act() -> None:
        reader, writer = await asyncio.open_connection(sock=await caller.connect())
        try:
            writer.write(start)
            caller.counts["open"] += 1
            dripping = asyncio.create_task(drip(writer))
            try:
                await read(reader)
            finally:
                dripping.cancel()
        finally:
            writer.transport.abort()

    await caller.repeat(_COUNT[caller.door], act)


@attacks("1100 silent connections to each process of 1024 open files", *_PORTS, open_files=1_024)
async def say_nothing(caller: Caller) -> None:
    await _hold(caller, b"")


@attacks("1100 connections to each process with half of a TLS greeting", *_PORTS)
async def greet_by_tls(caller: Caller) -> None:
    await _hold(caller, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100))


@attacks("1100 connections to each process that drip their headers", *_PORTS)
async def drip_headers(caller: Caller) -> None:
    if caller.door is JSON:
        await _hold(caller, b"POST /api/v1/lead", make_head("POST", "_analytics", 1_000, (b"x", b"y" * 1_000))[5:])
    await _hold(caller, PREFACE[:3], PREFACE[3:])


@attacks("300 creates of 1 MiB that come a byte a second", *ALL)
async def drip_bodies(caller: Caller) -> None:
    async def post() -> None:
        async with caller.http1() as connection:
            await connection.send(make_head("POST", _LARGE.path, len(_LARGE.json)))
            answer = asyncio.create_task(connection.read_status())
            try:
                for place in range(len(_LARGE.json)):
                    await connection.send(_LARGE.json[place : place + 1])
                    caller.counts["bytes sent"] += 1
                    if (await asyncio.wait([answer], timeout=1))[0]:
                        break
                caller.counts[await answer] += 1
            finally:
                answer.cancel()

    async def call(connection: Http2) -> None:
        stream = connection.open(_LARGE.rpc)
        for place in range(len(_LARGE.message)):
            await connection.send(stream, _LARGE.message[place : place + 1])
            caller.counts["bytes sent"] += 1
            await asyncio.sleep(1)
            if connection.is_ended(stream):
                break
        caller.counts[await connection.reply(stream)] += 1

    if caller.door is JSON:
        await caller.repeat(300, post)
    await caller.repeat_calls(4, 75, call, pause=0.2)
