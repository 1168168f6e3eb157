"""The RPCs that list events and return one of them, typed and for JSON."""

from typing import Any

from data_analytics.v1.analytics_event_service_pb2 import GetAnalyticsEventRequest, ListAnalyticsEventsRequest
from server.access.caller import NotPermitted, get_caller
from server.messages.json_codec.format import format_listing, format_record
from server.messages.json_codec.query import ParameterReader, read_with_id
from server.messages.listing import ListRequest, encode_listing, encode_record, to_event_id, to_list_request
from server.messages.parse import parse
from server.messages.refusals import EventNotFound
from server.rpc.http_services import HttpCall, HttpRead, send_headers
from server.rpc.ignored_fields import IgnoredFields
from server.rpc.limits import UnreadPageLimiter
from server.rpc.pages import join_page
from server.rpc.permission import find_share_of_read
from server.sharing.turns import Turns
from storage import Event, EventStore, Listing

# As many lists as storage has connections for.
_LISTS = 3
_LISTS_EACH = 2


class Lister:
    """The lists of one server, of which customers take turns. Belongs to one event loop."""

    def __init__(self, store: EventStore, unread_pages: UnreadPageLimiter) -> None:
        """Create it without a list in flight."""
        self.unread_pages = unread_pages
        """Counts the pages that callers have not read."""
        self._store = store
        self.turns = Turns(_LISTS, places_each=_LISTS_EACH)
        """Those of the customers."""

    async def find(self, request: ListRequest) -> Listing:
        """Return the page that a caller asks for.

        Raises:
            NotPermitted: the caller may not see all of these events.
        """
        query = request.query
        async with self.turns.wait(find_share_of_read(query)):
            return await self._store.list_events(query)

    async def get(self, customer_id: str, event_id: str) -> Event:
        """Return an event.

        Raises:
            NotPermitted: the caller may not see any event of the customer.
            EventNotFound: there is no such event, or it is one that the caller may not see.
        """
        caller = get_caller()
        if not caller.may_read_some(customer_id):
            raise NotPermitted
        async with self.turns.wait(caller.share or customer_id):
            event = await self._store.get_event(customer_id, event_id)
        if event is None or not caller.may_read(customer_id, event.user_id):
            raise EventNotFound
        return event

    async def ListAnalyticsEvents(self, data: bytes, context: Any, _: str) -> bytes:
        """Return one page of a list, as a typed RPC, from bytes to bytes."""
        request = to_list_request(parse(ListAnalyticsEventsRequest, data))
        listing = await self.find(request)
        return await join_page(encode_listing(request, listing), self.unread_pages, context)

    async def GetAnalyticsEvent(self, data: bytes, _context: Any, _: str) -> bytes:
        """Return an event, as a typed RPC, from bytes to bytes."""
        ids = to_event_id(parse(GetAnalyticsEventRequest, data))
        return encode_record(await self.get(*ids)).SerializeToString()


class _HttpRead(HttpRead):
    """What a `Lister` answers."""

    def __init__(self, lister: Lister, ignored: IgnoredFields) -> None:
        self._lister = lister
        self._ignored = ignored


class HttpList(_HttpRead):
    """A list that is asked for by its URL."""

    def __init__(self, lister: Lister, ignored: IgnoredFields) -> None:
        """Compile the reader of the URLs."""
        super().__init__(lister, ignored)
        self._reader = ParameterReader(ListAnalyticsEventsRequest, to_list_request, ignore_unknown=ignored.enabled)

    async def __call__(self, call: HttpCall, _: str) -> bytes:
        """Return one page."""
        request, ignored = self._reader.read(self.get_url(call))
        listing = await self._lister.find(request)
        response = await join_page(format_listing(request, listing), self._lister.unread_pages, call.context)
        await send_headers(call, self._ignored.count(ignored))
        return response


class HttpGet(_HttpRead):
    """An event that is asked for by its URL."""

    def __init__(self, lister: Lister, ignored: IgnoredFields) -> None:
        """Compile the reader of the URLs."""
        super().__init__(lister, ignored)
        self._reader = ParameterReader(GetAnalyticsEventRequest, to_event_id, ignore_unknown=ignored.enabled)

    async def __call__(self, call: HttpCall, _: str) -> bytes:
        """Return the event."""
        ids, ignored = read_with_id(self._reader, self.get_url(call))
        response = format_record(await self._lister.get(*ids))
        await send_headers(call, self._ignored.count(ignored))
        return response
