"""The write stream: chunks in, responses out in the same order, a bounded number of chunks in flight."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsResponse,
    WriteAnalyticsEventsRequest,
    WriteAnalyticsEventsResponse,
)
from server.ingest.batch import read_batch, write_batch
from server.ingest.group_commit import GroupCommit
from server.messages.refusals import TooManyWaiting, make_status

MAX_CHUNKS = 8
"""How many chunks of one stream are read before the first of them is answered."""

_REQUEST: Any = WriteAnalyticsEventsRequest.DESCRIPTOR

# How long a chunk waits before it tries again to enter a full queue.
_RETRY_SECONDS = 0.02


class ChunkBudget:
    """The bytes of all streams' chunks that wait for their commit. Belongs to one event loop."""

    def __init__(self, max_bytes: int) -> None:
        """Create a budget of which nothing is used."""
        self._bytes = 0
        self._max_bytes = max_bytes
        self._has_room = asyncio.Event()
        self._has_room.set()

    async def wait(self) -> None:
        """Wait until another chunk may be read."""
        await self._has_room.wait()

    def add(self, byte_size: int) -> None:
        """Count a chunk. A negative size takes it off again."""
        self._bytes += byte_size
        if self._bytes > self._max_bytes:
            self._has_room.clear()
        else:
            self._has_room.set()


async def write_stream(
    commits: GroupCommit, requests: AsyncIterator[WriteAnalyticsEventsRequest | Exception], budget: ChunkBudget
) -> AsyncIterator[WriteAnalyticsEventsResponse]:
    """Store each of `requests` and yield its response once it is committed.

    A request that could not be parsed comes as the exception that says so.

    Raises:
        Exception: that of the first chunk that failed, after the responses to the chunks in flight at that time.
    """
    # Its length is bounded by `window`, which has a slot again only when the caller has read a response.
    in_flight: asyncio.Queue[asyncio.Task[BatchCreateAnalyticsEventsResponse] | None] = asyncio.Queue()
    window = asyncio.Semaphore(MAX_CHUNKS)

    async def read() -> None:
        try:
            await window.acquire()
            async for request in requests:
                in_flight.put_nowait(asyncio.create_task(_store(commits, request, budget)))
                await window.acquire()
                await budget.wait()
        finally:
            in_flight.put_nowait(None)

    reading = asyncio.create_task(read())
    failure: Exception | None = None
    chunk = 0
    task = None
    try:
        while task := await in_flight.get():
            try:
                response = WriteAnalyticsEventsResponse(chunk=chunk, committed=await task)
            except Exception as error:  # noqa: BLE001 - raised again below
                reading.cancel()
                failure = failure or error
                response = WriteAnalyticsEventsResponse(chunk=chunk, failed=make_status(error, _REQUEST))
            yield response
            chunk += 1
            window.release()
        if failure:
            raise failure
        await reading
    finally:
        # The caller may have gone. Cancelling withdraws the chunks that no commit has taken.
        reading.cancel()
        while task:
            task.cancel()
            task = None if in_flight.empty() else in_flight.get_nowait()


async def _store(
    commits: GroupCommit, request: WriteAnalyticsEventsRequest | Exception, budget: ChunkBudget
) -> BatchCreateAnalyticsEventsResponse:
    if isinstance(request, Exception):
        raise request
    batch = read_batch(request)
    budget.add(batch.byte_size)
    try:
        while True:
            try:
                return await write_batch(commits, batch)
            except TooManyWaiting:
                await asyncio.sleep(_RETRY_SECONDS)
    finally:
        budget.add(-batch.byte_size)
