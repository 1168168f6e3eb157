"""The streaming door: chunks in, answers out in the same order, a bounded number of them under way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsResponse,
    WriteAnalyticsEventsRequest,
    WriteAnalyticsEventsResponse,
)
from server.ingest.batch import Batch
from server.ingest.group_commit import Writer
from server.rpc.errors import status_of
from server.rpc.limits import Chunks
from storage import QueueFull

WINDOW = 8
"""How many chunks of one stream are taken in before the first of them is answered."""

_REQUEST: Any = WriteAnalyticsEventsRequest.DESCRIPTOR

# How long a chunk waits before it asks again for a place in a queue that was full.
_PAUSE_SECONDS = 0.02


async def write_stream(
    writer: Writer, requests: AsyncIterator[WriteAnalyticsEventsRequest | Exception], chunks: Chunks
) -> AsyncIterator[WriteAnalyticsEventsResponse]:
    """Stores each of `requests` and yields its outcome once it is committed.

    Raises whatever the first chunk raised that failed, after the answers to the chunks that were already under way.
    """
    # A place in the queue is free again once its answer is handed over, and that waits for the caller to read.
    under_way: asyncio.Queue[asyncio.Task[BatchCreateAnalyticsEventsResponse] | None] = asyncio.Queue()
    places = asyncio.Semaphore(WINDOW)

    async def take_in() -> None:
        try:
            await places.acquire()
            async for request in requests:
                under_way.put_nowait(asyncio.create_task(_store(writer, request, chunks)))
                await places.acquire()
                await chunks.room()
        finally:
            under_way.put_nowait(None)

    taking_in = asyncio.create_task(take_in())
    failure: Exception | None = None
    chunk = 0
    task = None
    try:
        while task := await under_way.get():
            try:
                answer = WriteAnalyticsEventsResponse(chunk=chunk, committed=await task)
            except Exception as error:  # noqa: BLE001 - raised again below
                taking_in.cancel()
                failure = failure or error
                answer = WriteAnalyticsEventsResponse(chunk=chunk, failed=status_of(error, _REQUEST))
            yield answer
            chunk += 1
            places.release()
        if failure:
            raise failure
        await taking_in
    finally:
        # The caller may be gone: what is not yet in a commit is taken back.
        taking_in.cancel()
        while task:
            task.cancel()
            task = None if under_way.empty() else under_way.get_nowait()


async def _store(
    writer: Writer, request: WriteAnalyticsEventsRequest | Exception, chunks: Chunks
) -> BatchCreateAnalyticsEventsResponse:
    if isinstance(request, Exception):
        raise request
    batch = Batch(request)
    chunks.add(batch.size)
    try:
        while True:
            try:
                return await writer.write(batch)
            except QueueFull:
                await asyncio.sleep(_PAUSE_SECONDS)
    finally:
        chunks.add(-batch.size)
