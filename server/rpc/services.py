"""The three services: a few lines for each RPC. What they raise becomes a status in `server.rpc.errors`."""

from collections.abc import AsyncIterator
from typing import Any, TypeVar

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
    CreateAnalyticsEventRequest,
    WriteAnalyticsEventsRequest,
    WriteAnalyticsEventsResponse,
)
from data_analytics.v1.contact_analytics_service_pb2 import (
    CreateContactAnalyticsEventRequest,
    SearchContactAnalyticsEventsRequest,
    SearchContactAnalyticsEventsResponse,
)
from data_analytics.v1.lead_analytics_service_pb2 import (
    CreateLeadAnalyticsEventRequest,
    SearchLeadAnalyticsEventsRequest,
    SearchLeadAnalyticsEventsResponse,
)
from server.ingest.batch import Batch
from server.ingest.create import KEY, Creates, check_time
from server.ingest.group_commit import Writer
from server.ingest.stream import write_stream
from server.messages import convert
from server.messages.page_size import check_size
from server.messages.validation import FieldViolation, InvalidRequest
from server.rpc.limits import Chunks, UnreadPages
from storage import Query, Searches

T = TypeVar("T", SearchLeadAnalyticsEventsResponse, SearchContactAnalyticsEventsResponse)


class AnalyticsEvents:
    """Takes in events about either kind of entity."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._chunks = Chunks()
        self.CreateAnalyticsEvent = Creates(
            writer, CreateAnalyticsEventRequest, convert.event_of_analytics, convert.analytics_event
        )

    async def BatchCreateAnalyticsEvents(
        self, request: BatchCreateAnalyticsEventsRequest, context: Any
    ) -> BatchCreateAnalyticsEventsResponse:
        """Stores many events."""
        if any(name == KEY for name, _ in context.invocation_metadata() or ()):
            # Its caller believes to be safe.
            raise InvalidRequest(
                [FieldViolation(KEY, "is for a single event: in a batch each has its own idempotency_key")]
            )
        check_time(self._writer, context)
        return await self._writer.write(Batch(request))

    def WriteAnalyticsEvents(
        self, request_iterator: AsyncIterator[WriteAnalyticsEventsRequest | Exception], context: Any
    ) -> AsyncIterator[WriteAnalyticsEventsResponse]:
        """Stores chunk after chunk of events."""
        return write_stream(self._writer, request_iterator, self._chunks)


class LeadAnalytics:
    """Takes in and finds events about leads."""

    def __init__(self, writer: Writer, searches: Searches, unread: UnreadPages) -> None:
        self._searches = searches
        self._unread = unread
        self.CreateLeadAnalyticsEvent = Creates(
            writer, CreateLeadAnalyticsEventRequest, convert.event_of_lead, convert.lead_analytics_event
        )

    async def SearchLeadAnalyticsEvents(
        self, request: SearchLeadAnalyticsEventsRequest, context: Any
    ) -> SearchLeadAnalyticsEventsResponse:
        """Answers one page."""
        query = convert.query(request, "lead", request.lead_id)
        return await _find(self._searches, self._unread, query, SearchLeadAnalyticsEventsResponse(), context)


class ContactAnalytics:
    """Takes in and finds events about contacts."""

    def __init__(self, writer: Writer, searches: Searches, unread: UnreadPages) -> None:
        self._searches = searches
        self._unread = unread
        self.CreateContactAnalyticsEvent = Creates(
            writer, CreateContactAnalyticsEventRequest, convert.event_of_contact, convert.contact_analytics_event
        )

    async def SearchContactAnalyticsEvents(
        self, request: SearchContactAnalyticsEventsRequest, context: Any
    ) -> SearchContactAnalyticsEventsResponse:
        """Answers one page."""
        query = convert.query(request, "contact", request.contact_id)
        return await _find(self._searches, self._unread, query, SearchContactAnalyticsEventsResponse(), context)


async def _find(searches: Searches, unread: UnreadPages, query: Query, answer: T, context: Any) -> T:
    """Fills `answer` with one page of a search, for either kind of entity."""
    page = await searches.find(query)
    convert.add_events(answer.recordings, page.events)
    answer.meta.CopyFrom(convert.page_meta(query, page))
    size = answer.ByteSize()
    check_size(answer.recordings, size)
    unread.count(size, context)
    return answer
