"""The RPC that counts events, typed and for JSON."""

from collections.abc import Iterator
from typing import Any

from data_analytics.v1.summary_pb2 import SummarizeAnalyticsEventsRequest
from server.memory import reused_memory
from server.messages.json_codec.format import format_summary
from server.messages.json_codec.query import ParameterReader
from server.messages.parse import parse
from server.messages.refusals import InvalidRequest
from server.messages.summary import encode_summary, to_summary_query
from server.messages.wording import SUMMARY_TOO_LARGE
from server.rpc.http_services import HttpCall, HttpRead, send_headers
from server.rpc.ignored_fields import IgnoredFields
from server.rpc.limits import UnreadPageLimiter
from server.rpc.pages import join_page
from server.rpc.permission import find_share_of_read
from server.sharing.turns import Turns
from storage import EventStore, PageTooLarge, Summary, SummaryQuery

# As many as storage has connections for.
_SUMMARIES = 2
_SUMMARIES_EACH = 1


class Summarizer:
    """The summaries of one server, of which customers take turns. Belongs to one event loop."""

    def __init__(self, store: EventStore, unread_pages: UnreadPageLimiter) -> None:
        """Create it without a summary in flight."""
        self._store = store
        self._unread_pages = unread_pages
        self.turns = Turns(_SUMMARIES, places_each=_SUMMARIES_EACH)
        """Those of the customers."""

    async def find(self, query: SummaryQuery) -> Summary:
        """Return the summary that a caller asks for.

        Raises:
            NotPermitted: the caller may not see all of these events.
        """
        async with self.turns.wait(find_share_of_read(query)):
            with reused_memory():
                return await self._store.summarize(query)

    async def join(self, parts: Iterator[bytes], context: Any) -> bytes:
        """Return a response as a whole. Raise InvalidRequest if it is too large."""
        try:
            return await join_page(parts, self._unread_pages, context)
        except PageTooLarge:
            raise InvalidRequest([SUMMARY_TOO_LARGE]) from None

    async def SummarizeAnalyticsEvents(self, data: bytes, context: Any, _: str) -> bytes:
        """Return a summary, as a typed RPC, from bytes to bytes."""
        query = to_summary_query(parse(SummarizeAnalyticsEventsRequest, data))
        return await self.join(encode_summary(query, await self.find(query)), context)


class HttpSummary(HttpRead):
    """A summary that is asked for by its URL."""

    def __init__(self, summarizer: Summarizer, ignored: IgnoredFields) -> None:
        """Compile the reader of the URLs."""
        self._summarizer = summarizer
        self._ignored = ignored
        self._reader = ParameterReader(
            SummarizeAnalyticsEventsRequest, to_summary_query, ignore_unknown=ignored.enabled
        )

    async def __call__(self, call: HttpCall, _: str) -> bytes:
        """Return the summary."""
        query, ignored = self._reader.read(self.get_url(call))
        parts = format_summary(query, await self._summarizer.find(query))
        response = await self._summarizer.join(parts, call.context)
        await send_headers(call, self._ignored.count(ignored))
        return response
