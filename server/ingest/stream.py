"""The write stream: chunks in, responses out in the same order, a bounded number of chunks in flight."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsResponse,
    WriteAnalyticsEventsRequest,
    WriteAnalyticsEventsResponse,
)
from server.access.caller import Caller
from server.ingest.batch import EventBatch, read_batch, write_batch
from server.ingest.group_commit import GroupCommit
from server.ingest.notes import Notes
from server.messages.customer import find_customer_of_batch, find_reporter_of_batch
from server.messages.refusals import Reporter, TooManyWaiting, forget_frames
from server.messages.statuses import make_status
from server.request_ids import Metadata
from server.sharing.places import Places
from server.sharing.shares import Shares
from server.sharing.turns import Turns

MAX_CHUNKS = 8
"""How many chunks of one stream are read before the first of them is answered."""

_REQUEST: Any = WriteAnalyticsEventsRequest.DESCRIPTOR

# How long a chunk waits before it tries again to enter a full queue.
_RETRY_SECONDS = 0.02


class ChunkBudget:
    """The bytes of all streams' chunks that wait for their commit, of which each customer has a share.

    Belongs to one event loop.
    """

    def __init__(self, max_bytes: int) -> None:
        """Create a budget of which nothing is used."""
        self._shares = Shares(max_bytes)
        self._has_more = asyncio.Event()

    async def take(self, customer: str, byte_size: int) -> None:
        """Count a chunk as soon as there is room for it."""
        while not self._shares.take(customer, byte_size):
            await self._has_more.wait()

    def give_back(self, customer: str, byte_size: int) -> None:
        """Count it no longer."""
        self._shares.give_back(customer, byte_size)
        self._has_more.set()
        self._has_more = asyncio.Event()


async def write_stream(
    commits: GroupCommit,
    requests: AsyncIterator[bytes | Exception],
    places: Places,
    budget: ChunkBudget,
    turns: Turns,
    renew: Callable[[], Awaitable[Caller]],
    notes: Notes,
    metadata: Metadata,
) -> AsyncIterator[WriteAnalyticsEventsResponse]:
    """Store each of `requests` and yield its response once it is committed.

    A request that is too large comes as the exception that says so.

    Args:
        commits: what stores them.
        requests: the chunks.
        places: the places of streams, of which this one takes one.
        budget: the limit on the bytes of the chunks.
        turns: those of customers whose batches and chunks are read.
        renew: returns the caller, as long as the credentials are valid. It is asked for each chunk.
        notes: those of what is refused.
        metadata: the metadata of the call.

    Raises:
        Unauthenticated: they are no longer valid.
        NoPlace: there is none for the stream, or its customer has its share.
        SilentStream: nothing has come for too long.
        Exception: that of the first chunk that failed, after the responses to the chunks in flight at that time.
    """
    caller = await renew()
    with places.enter() as place:
        if caller.share:
            place.name(caller.share)
        # Its length is bounded by `window`, which has a slot again only when the caller has read a response.
        in_flight: asyncio.Queue[asyncio.Task[BatchCreateAnalyticsEventsResponse] | None] = asyncio.Queue()
        window = asyncio.Semaphore(MAX_CHUNKS)

        async def store(request: bytes | Exception, customer: str) -> BatchCreateAnalyticsEventsResponse:
            try:
                batch, response = await _store(commits, turns, request, customer, renew)
            except Exception as error:
                notes.note_failure(error, partial(_find_reporter, request), metadata)
                raise
            notes.note_batch(batch, metadata)
            return response

        async def read() -> None:
            try:
                while True:
                    await window.acquire()
                    request = await place.read(requests)
                    caller = await renew()
                    customer, size = _measure(request)
                    customer = caller.find_share(customer)
                    place.name(customer)
                    await budget.take(customer, size)
                    task = asyncio.create_task(store(request, customer))
                    task.add_done_callback(partial(_give_back, budget, customer, size))
                    in_flight.put_nowait(task)
            except StopAsyncIteration:
                pass
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
                    response = WriteAnalyticsEventsResponse(chunk=chunk, failed=make_status(error, _REQUEST))
                    if failure is None:
                        failure = error
                    else:
                        forget_frames(error)
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


def _measure(request: bytes | Exception) -> tuple[str, int]:
    """Return whose chunk it is, judged by its first event, and how many bytes it has."""
    if isinstance(request, Exception):
        return "", 0
    return find_customer_of_batch(request), len(request)


def _find_reporter(request: bytes | Exception) -> Reporter:
    return Reporter() if isinstance(request, Exception) else find_reporter_of_batch(request)


def _give_back(budget: ChunkBudget, customer: str, byte_size: int, _: object) -> None:
    budget.give_back(customer, byte_size)


async def _store(
    commits: GroupCommit,
    turns: Turns,
    request: bytes | Exception,
    customer: str,
    renew: Callable[[], Awaitable[Caller]],
) -> tuple[EventBatch, BatchCreateAnalyticsEventsResponse]:
    if isinstance(request, Exception):
        raise request
    caller = await renew()
    if caller.meter is not None:
        await caller.meter.wait(0, len(request))
    async with turns.wait(customer):
        batch = await read_batch(request, customer, caller)
    if caller.meter is not None:
        await caller.meter.wait(batch.event_count, 0)
        await renew()  # The chunk may have waited for long.
    while True:
        try:
            return batch, await write_batch(commits, batch)
        except TooManyWaiting:
            await asyncio.sleep(_RETRY_SECONDS)
        if not batch.is_fresh:
            async with turns.wait(customer):
                batch = await read_batch(request, customer, caller)
