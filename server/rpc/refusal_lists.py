"""The RPC that lists what was refused, typed and for JSON."""

from typing import Any

from data_analytics.v1.refusal_pb2 import ListRefusalsRequest
from server.access.caller import NotPermitted, get_caller
from server.messages.json_codec.format import format_refusals
from server.messages.json_codec.query import ParameterReader
from server.messages.parse import parse
from server.messages.refusal_list import (
    RefusalPage,
    RefusalRequest,
    encode_refusals,
    to_refusal_page,
    to_refusal_request,
)
from server.rpc.http_services import HttpCall, HttpRead, send_headers
from server.rpc.ignored_fields import IgnoredFields
from server.rpc.limits import UnreadPageLimiter
from server.rpc.pages import join_page
from server.sharing.turns import Turns
from storage import EventStore

# Storage has one connection for them.
_LISTS = 1


class RefusalLister:
    """The lists of refusals of one server, of which customers take turns. Belongs to one event loop."""

    def __init__(self, store: EventStore, unread_pages: UnreadPageLimiter) -> None:
        """Create it without a list in flight."""
        self.unread_pages = unread_pages
        """Counts the pages that callers have not read."""
        self._store = store
        self.turns = Turns(_LISTS, places_each=_LISTS)
        """Those of the customers."""

    async def find(self, request: RefusalRequest) -> RefusalPage:
        """Return the page that a caller asks for.

        Raises:
            NotPermitted: the caller may not see all that is the customer's.
        """
        customer_id = request.query.customer_id
        caller = get_caller()
        if not caller.may_read_all(customer_id):
            raise NotPermitted
        async with self.turns.wait(caller.share or customer_id):
            found = await self._store.list_refusals(request.query)
        return to_refusal_page(request, found)

    async def ListRefusals(self, data: bytes, context: Any, _: str) -> bytes:
        """Return one page of refusals, as a typed RPC, from bytes to bytes."""
        page = await self.find(to_refusal_request(parse(ListRefusalsRequest, data)))
        return await join_page(encode_refusals(page), self.unread_pages, context)


class HttpListRefusals(HttpRead):
    """A list of refusals that is asked for by its URL."""

    def __init__(self, lister: RefusalLister, ignored: IgnoredFields) -> None:
        """Compile the reader of the URLs."""
        self._lister = lister
        self._ignored = ignored
        self._reader = ParameterReader(ListRefusalsRequest, to_refusal_request, ignore_unknown=ignored.enabled)

    async def __call__(self, call: HttpCall, _: str) -> bytes:
        """Return one page."""
        request, ignored = self._reader.read(self.get_url(call))
        page = await self._lister.find(request)
        response = await join_page(format_refusals(page), self._lister.unread_pages, call.context)
        await send_headers(call, self._ignored.count(ignored))
        return response
