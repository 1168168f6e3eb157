"""Overload, by JSON: what is over a limit is refused at once, in the same form as all refusals."""

import asyncio
import contextlib
import socket
from collections import Counter

import pytest

from server.app import LIMITS
from tests.support.database import locked_table
from tests.support.stack import EVENT, Stack

LIMIT = LIMITS.writes // 2
"""How many creates of one customer may be in flight. The standby has none."""

MORE = 200

pytestmark = pytest.mark.open_files(2_000)


async def post_event(port: int, event: bytes = EVENT) -> tuple[int, bytes]:
    """Send a create; return its status and the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = (
            f"POST /api/v1/lead_analytics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"content-length: {len(event)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode() + event)
        answer = await reader.read()
        return int(answer.split(b" ", 2)[1]), answer
    finally:
        writer.close()


def test_requests_over_a_customers_share_are_429_and_the_others_are_stored(stack: Stack) -> None:
    async def flood() -> Counter[int]:
        other = EVENT.replace(b'"customer_id":"c"', b'"customer_id":"another"')
        with locked_table(stack.database_url):
            calls = {asyncio.create_task(post_event(stack.http_port)) for _ in range(LIMIT + MORE)}
            refused: set[asyncio.Task[tuple[int, bytes]]] = set()
            # The lock holds the others back, so whatever is answered now was not kept waiting behind them.
            async with asyncio.timeout(10):
                while len(refused) < MORE:
                    done, calls = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                    refused |= done
            calls.add(asyncio.create_task(post_event(stack.http_port, other)))
        for call in refused:
            status, answer = call.result()
            assert status == 429
            assert b"\r\nretry-after: 1\r\n" in answer
            assert b'{"code":8,' in answer
            assert b'"@type":"type.googleapis.com/google.rpc.RetryInfo"' in answer
        return Counter(status for status, _ in await asyncio.gather(*calls))

    assert asyncio.run(flood()) == {201: LIMIT + 1}
    assert stack.request("/api/v1/lead_analytics", EVENT) == 201


def test_slow_idle_and_silent_callers_do_not_starve_others(stack: Stack) -> None:
    head = b"POST /api/v1/lead_analytics HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    begun = [
        b"",  # An idle connection.
        head,  # Headers that do not end.
        head + b"content-length: 1000\r\n\r\n{",  # A body that does not end.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",  # HTTP/2, and then nothing.
    ]
    with contextlib.ExitStack() as sockets:
        for port in (stack.http_port, stack.grpc_port):
            for start in begun * 200:
                caller = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
                caller.sendall(start)
        assert [stack.request("/api/v1/lead_analytics", EVENT) for _ in range(50)] == [201] * 50
        assert stack.serves()
