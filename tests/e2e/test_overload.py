"""More than the stack can take, by JSON: Envoy refuses what is over the limit, in the one shape of refusals."""

import asyncio
import contextlib
import socket
from collections import Counter

import psycopg2

from tests.support.stack import EVENT, Stack

LIMIT = 1_000
MORE = 200


async def posted(port: int) -> tuple[int, bytes]:
    """The status and the whole answer of a create."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = (
            f"POST /api/v1/lead_analytics HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
            f"content-length: {len(EVENT)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + EVENT)
        answer = await reader.read()
        return int(answer.split(b" ", 2)[1]), answer
    finally:
        writer.close()


def test_requests_over_the_limit_are_429_at_once_and_the_others_are_stored(stack: Stack) -> None:
    async def flood() -> Counter[int]:
        with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE analytics_event IN ACCESS EXCLUSIVE MODE")
            calls = {asyncio.create_task(posted(stack.http_port)) for _ in range(LIMIT + MORE)}
            refused: set[asyncio.Task[tuple[int, bytes]]] = set()
            async with asyncio.timeout(10):
                while len(refused) < MORE:
                    done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                    refused |= done
        for call in refused:
            status, answer = call.result()
            assert status == 429
            assert b"\r\nretry-after: 1\r\n" in answer
            assert b'{"code":8,' in answer
            assert b'"@type":"type.googleapis.com/google.rpc.RetryInfo"' in answer
        return Counter(status for status, _ in await asyncio.gather(*calls))

    assert asyncio.run(flood()) == {201: LIMIT}
    assert stack.request("/api/v1/lead_analytics", EVENT) == 201


def test_callers_that_are_slow_idle_or_silent_starve_nobody(stack: Stack) -> None:
    head = b"POST /api/v1/lead_analytics HTTP/1.1\r\nhost: test\r\ncontent-type: application/json\r\n"
    begun = [
        b"",  # An idle connection.
        head,  # Headers without an end.
        head + b"content-length: 1000\r\n\r\n{",  # A body without an end.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",  # HTTP/2, and then nothing.
    ]
    with contextlib.ExitStack() as sockets:
        for port in (stack.http_port, stack.grpc_port):
            for start in begun * 200:
                caller = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
                caller.sendall(start)
        assert [stack.request("/api/v1/lead_analytics", EVENT) for _ in range(50)] == [201] * 50
        assert stack.serves()
