"""The three services, a few lines for each RPC. `server.rpc.errors` turns what they raise into a status."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio

from data_analytics.v1.analytics_event_service_pb2 import (
    WriteAnalyticsEventsResponse,
)
from data_analytics.v1.contact_analytics_service_pb2 import (
    SearchContactAnalyticsEventsRequest,
    SearchContactAnalyticsEventsResponse,
)
from data_analytics.v1.lead_analytics_service_pb2 import (
    SearchLeadAnalyticsEventsRequest,
    SearchLeadAnalyticsEventsResponse,
)
from server.access.caller import Caller, get_caller
from server.ingest.batch import read_batch, write_batch
from server.ingest.create import Create, MessageCodec
from server.ingest.group_commit import GroupCommit
from server.ingest.notes import GRPC, Notes
from server.ingest.refusal_log import RefusalLog
from server.ingest.stream import ChunkBudget, write_stream
from server.messages.convert import ANALYTICS, CONTACT, LEAD, CreateKind
from server.messages.parse import parse
from server.messages.refusals import KEY_METADATA, InvalidRequest
from server.messages.search import SearchResponse, encode_page, to_query
from server.messages.wording import KEY_WITH_BATCH
from server.rpc.erasures import Eraser
from server.rpc.exports import Exporter, TypedExport
from server.rpc.limits import UnreadPageLimiter
from server.rpc.lists import Lister
from server.rpc.pages import join_page
from server.rpc.refusal_lists import RefusalLister
from server.rpc.searcher import Searcher
from server.rpc.summaries import Summarizer
from server.rpc.watches import TypedWatch, Watcher
from server.sharing.places import Places
from server.sharing.turns import Turns
from storage import Query

_REPLAYED = (("idempotency-replayed", "true"),)


class CreateRpc:
    """The RPC of one kind of create, from bytes to bytes, so that the work between is done when a commit takes it."""

    def __init__(self, commits: GroupCommit, kind: CreateKind[Any], log: RefusalLog) -> None:
        self.notes = Notes(log, kind.rpc, GRPC)
        self._commits = commits
        self._codec = MessageCodec(kind)

    async def __call__(self, data: bytes, context: Any, customer: str, key: str = "") -> bytes:
        """Store the event that `data` asks to store, under the idempotency `key` of the metadata if there is one."""
        self._commits.check_deadline(context.time_remaining)
        caller = get_caller()
        if caller.meter is not None:
            await caller.meter.spend(1, len(data))
        create = Create(self._codec, data, key, customer, caller)
        response = await self._commits.write(create)
        if create.replayed is not None:
            self.notes.note_replay(create.replayed, caller, context.invocation_metadata())
            with contextlib.suppress(grpc.aio.InternalError):  # The caller has gone.
                await context.send_initial_metadata(_REPLAYED)
        return response

    async def call_with_key(self, data: bytes, context: Any, customer: str) -> bytes:
        """Store an event under the idempotency key of the metadata."""
        # Joined as HTTP joins a header that is sent twice.
        keys = [value for name, value in context.invocation_metadata() if name == KEY_METADATA]
        return await self(data, context, customer, ", ".join(keys))


class BatchRpc:
    """The RPC of a batch, from bytes to bytes, so that a batch is parsed only when it is its turn."""

    def __init__(self, commits: GroupCommit, turns: Turns, log: RefusalLog) -> None:
        self.notes = Notes(log, "BatchCreateAnalyticsEvents", GRPC)
        self._commits = commits
        self._turns = turns

    async def __call__(self, data: bytes, context: Any, customer: str) -> bytes:
        """Store many events."""
        if any(name == KEY_METADATA for name, _ in context.invocation_metadata() or ()):
            # Ignoring it would let the caller believe that a retry is safe.
            raise InvalidRequest([KEY_WITH_BATCH])
        caller = get_caller()
        if caller.meter is not None:
            await caller.meter.spend(0, len(data))
        async with self._turns.wait(customer):
            self._commits.check_deadline(context.time_remaining)
            batch = await read_batch(data, customer, caller)
        if caller.meter is not None:
            caller.meter.count(batch.event_count)
        response: bytes = (await write_batch(self._commits, batch)).SerializeToString()
        self.notes.note_batch(batch, context.invocation_metadata())
        return response


class AnalyticsEvents:
    """Stores, lists, counts, exports, watches and erases events about either kind of entity, and lists refusals."""

    def __init__(
        self,
        creates: GroupCommit,
        batches: GroupCommit,
        turns: Turns,
        places: Places,
        budget: ChunkBudget,
        renew: Callable[[], Awaitable[Caller]],
        eraser: Eraser,
        lister: Lister,
        exporter: Exporter,
        log: RefusalLog,
        refusal_lister: RefusalLister,
        summarizer: Summarizer,
        watcher: Watcher,
    ) -> None:
        self._commits = batches
        self._turns = turns
        self._notes = Notes(log, "WriteAnalyticsEvents", GRPC)
        self._places = places
        self._budget = budget
        self._renew = renew
        self.CreateAnalyticsEvent = CreateRpc(creates, ANALYTICS, log)
        self.BatchCreateAnalyticsEvents = BatchRpc(batches, turns, log)
        self.EraseAnalyticsEvents = eraser.EraseAnalyticsEvents
        self.GetErasure = eraser.GetErasure
        self.ListAnalyticsEvents = lister.ListAnalyticsEvents
        self.GetAnalyticsEvent = lister.GetAnalyticsEvent
        self.ExportAnalyticsEvents = TypedExport(exporter)
        self.ListRefusals = refusal_lister.ListRefusals
        self.SummarizeAnalyticsEvents = summarizer.SummarizeAnalyticsEvents
        self.WatchAnalyticsEvents = TypedWatch(watcher)

    def WriteAnalyticsEvents(
        self, request_iterator: AsyncIterator[bytes | Exception], context: Any
    ) -> AsyncIterator[WriteAnalyticsEventsResponse]:
        """Store chunk after chunk of events."""
        return write_stream(
            self._commits,
            request_iterator,
            self._places,
            self._budget,
            self._turns,
            self._renew,
            self._notes,
            context.invocation_metadata() or (),
        )


async def _find(
    searcher: Searcher, query: Query, response: type[SearchResponse], pages: UnreadPageLimiter, context: Any
) -> bytes:
    """Return one page of a search's result."""
    page = await searcher.find(query)
    return await join_page(encode_page(response, query, page), pages, context)


class LeadAnalytics:
    """Stores and finds events about leads."""

    def __init__(
        self, commits: GroupCommit, searcher: Searcher, unread_pages: UnreadPageLimiter, log: RefusalLog
    ) -> None:
        self._searcher = searcher
        self._unread_pages = unread_pages
        self.CreateLeadAnalyticsEvent = CreateRpc(commits, LEAD, log)

    async def SearchLeadAnalyticsEvents(self, data: bytes, context: Any, _: str) -> bytes:
        """Return one page of events about a lead."""
        request = parse(SearchLeadAnalyticsEventsRequest, data)
        query = to_query(request, "lead", request.lead_id)
        return await _find(self._searcher, query, SearchLeadAnalyticsEventsResponse, self._unread_pages, context)


class ContactAnalytics:
    """Stores and finds events about contacts."""

    def __init__(
        self, commits: GroupCommit, searcher: Searcher, unread_pages: UnreadPageLimiter, log: RefusalLog
    ) -> None:
        self._searcher = searcher
        self._unread_pages = unread_pages
        self.CreateContactAnalyticsEvent = CreateRpc(commits, CONTACT, log)

    async def SearchContactAnalyticsEvents(self, data: bytes, context: Any, _: str) -> bytes:
        """Return one page of events about a contact."""
        request = parse(SearchContactAnalyticsEventsRequest, data)
        query = to_query(request, "contact", request.contact_id)
        return await _find(self._searcher, query, SearchContactAnalyticsEventsResponse, self._unread_pages, context)
