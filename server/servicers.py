"""The three services: a few lines for each RPC. What they raise becomes a status in `server.errors`."""

from collections.abc import AsyncIterator
from typing import Any

from analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    BatchCreateAnalyticsEventsResponse,
    CreateAnalyticsEventRequest,
    WriteAnalyticsEventsRequest,
    WriteAnalyticsEventsResponse,
)
from analytics.v1.analytics_event_service_pb2_grpc import AnalyticsEventServiceServicer
from analytics.v1.contact_analytics_service_pb2 import (
    CreateContactAnalyticsEventRequest,
    SearchContactAnalyticsEventsRequest,
    SearchContactAnalyticsEventsResponse,
)
from analytics.v1.contact_analytics_service_pb2_grpc import ContactAnalyticsServiceServicer
from analytics.v1.event_pb2 import AnalyticsEvent, ContactAnalyticsEvent, LeadAnalyticsEvent, PageMeta, RecordedEvent
from analytics.v1.lead_analytics_service_pb2 import (
    CreateLeadAnalyticsEventRequest,
    SearchLeadAnalyticsEventsRequest,
    SearchLeadAnalyticsEventsResponse,
)
from analytics.v1.lead_analytics_service_pb2_grpc import LeadAnalyticsServiceServicer
from server import convert
from server.batch import store_batch
from server.page_json import check_size
from server.write_stream import write_stream
from storage import Query, Searches, Writer


class AnalyticsEvents(AnalyticsEventServiceServicer):
    """Takes in events about either kind of entity."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def CreateAnalyticsEvent(self, request: CreateAnalyticsEventRequest, context: Any) -> AnalyticsEvent:
        """Stores one event."""
        event = convert.event_of_analytics(request)
        await self._writer.store(event)
        return convert.analytics_event(event)

    async def BatchCreateAnalyticsEvents(
        self, request: BatchCreateAnalyticsEventsRequest, context: Any
    ) -> BatchCreateAnalyticsEventsResponse:
        """Stores many events."""
        return await store_batch(request, self._writer.store_all)

    def WriteAnalyticsEvents(
        self, request_iterator: AsyncIterator[WriteAnalyticsEventsRequest | Exception], context: Any
    ) -> AsyncIterator[WriteAnalyticsEventsResponse]:
        """Stores chunk after chunk of events."""
        return write_stream(self._writer, request_iterator)


class LeadAnalytics(LeadAnalyticsServiceServicer):
    """Takes in and finds events about leads."""

    def __init__(self, writer: Writer, searches: Searches) -> None:
        self._writer = writer
        self._searches = searches

    async def CreateLeadAnalyticsEvent(
        self, request: CreateLeadAnalyticsEventRequest, context: Any
    ) -> LeadAnalyticsEvent:
        """Stores one event."""
        event = convert.event_of_lead(request)
        await self._writer.store(event)
        return convert.lead_analytics_event(event)

    async def SearchLeadAnalyticsEvents(
        self, request: SearchLeadAnalyticsEventsRequest, context: Any
    ) -> SearchLeadAnalyticsEventsResponse:
        """Answers one page."""
        recordings, meta = await _find(self._searches, convert.query(request, "lead", request.lead_id))
        return SearchLeadAnalyticsEventsResponse(recordings=recordings, meta=meta)


class ContactAnalytics(ContactAnalyticsServiceServicer):
    """Takes in and finds events about contacts."""

    def __init__(self, writer: Writer, searches: Searches) -> None:
        self._writer = writer
        self._searches = searches

    async def CreateContactAnalyticsEvent(
        self, request: CreateContactAnalyticsEventRequest, context: Any
    ) -> ContactAnalyticsEvent:
        """Stores one event."""
        event = convert.event_of_contact(request)
        await self._writer.store(event)
        return convert.contact_analytics_event(event)

    async def SearchContactAnalyticsEvents(
        self, request: SearchContactAnalyticsEventsRequest, context: Any
    ) -> SearchContactAnalyticsEventsResponse:
        """Answers one page."""
        recordings, meta = await _find(self._searches, convert.query(request, "contact", request.contact_id))
        return SearchContactAnalyticsEventsResponse(recordings=recordings, meta=meta)


async def _find(searches: Searches, query: Query) -> tuple[list[RecordedEvent], PageMeta]:
    """One page of a search, for either kind of entity."""
    page = await searches.find(query)
    recordings = [convert.recorded_event(event) for event in page.events]
    check_size(recordings)
    return recordings, convert.page_meta(query, page)
