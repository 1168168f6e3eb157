"""The RPCs that Envoy calls for JSON, whose bodies are bytes in `google.api.HttpBody`.

They have a package of their own, `data_analytics.v1.http`: see `protos/http_body.py`. `server.rpc.http_handlers` turns
what they raise into a response.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import grpc.aio

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from server.access.caller import get_caller
from server.ingest.batch import EventBatch
from server.ingest.create import Create, JsonCodec
from server.ingest.group_commit import GroupCommit
from server.ingest.notes import JSON, Notes
from server.ingest.refusal_log import RefusalLog
from server.messages.convert import ANALYTICS, CreateKind
from server.messages.customer import (
    SEEN_JSON_BYTES,
    find_customer_in_json,
    find_customer_in_url,
    find_reporter_in_json,
)
from server.messages.json_codec.batch import BatchReader
from server.messages.json_codec.body import unpack, unpack_beginning
from server.messages.json_codec.format import format_batch, format_page
from server.messages.json_codec.query import QueryReader, refuse_parameters
from server.messages.refusals import KEY_METADATA, InvalidRequest, Reporter, UnsupportedEncoding
from server.messages.search import SearchRequest
from server.messages.wording import BODY_WITH_SEARCH, KEY_WITH_BATCH
from server.rpc.ignored_fields import IgnoredFields
from server.rpc.limits import UnreadPageLimiter
from server.rpc.pages import join_page
from server.rpc.searcher import Searcher
from server.sharing.turns import Turns

URL_METADATA = "x-envoy-original-path"
"""Set by Envoy's transcoder: the path and query as the caller sent them."""

_ENCODING_METADATA = "content-encoding"
_REPLAYED = ("idempotency-replayed", "true")


class HttpCall(NamedTuple):
    """One call for JSON."""

    body: bytes
    metadata: Mapping[str, str]
    context: Any
    content_type: str = ""
    """Of a body that comes whole, as it was sent."""

    def unpack_body(self, max_bytes: int) -> bytes:
        """Return the body without its content-encoding."""
        return unpack(self.body, self.metadata.get(_ENCODING_METADATA, ""), max_bytes)

    def unpack_beginning(self, size: int) -> bytes:
        """Return up to `size` bytes of the beginning of the body without its content-encoding."""
        return unpack_beginning(self.body, self.metadata.get(_ENCODING_METADATA, ""), size)

    def find_reporter(self) -> Reporter:
        """Return who reports the first event in the body, as far as that can be told."""
        try:
            return find_reporter_in_json(self.unpack_beginning(SEEN_JSON_BYTES))
        except UnsupportedEncoding:
            return Reporter()


class HttpWrite:
    """What is asked for by a body."""

    notes: Notes | None = None
    """Those of what is refused, if they are kept."""

    @staticmethod
    def find_customer(call: HttpCall) -> str:
        """Return the customer of the first event in the body, of which the beginning is enough."""
        return find_customer_in_json(call.unpack_beginning(SEEN_JSON_BYTES))


class HttpRead:
    """What is asked for by the URL alone."""

    max_body_bytes = 0
    notes: Notes | None = None

    @staticmethod
    def find_customer(call: HttpCall) -> str:
        """Return the customer in the query, as it was sent."""
        return find_customer_in_url(call.metadata.get(URL_METADATA, ""))

    @staticmethod
    def get_url(call: HttpCall) -> str:
        """Return the path and query. Raise InvalidRequest if there is a body as well."""
        if call.body:
            raise InvalidRequest([BODY_WITH_SEARCH])
        return call.metadata.get(URL_METADATA, "")


class HttpCreate(HttpWrite):
    """The creation of one event from JSON."""

    max_body_bytes = 1 << 20
    notes: Notes

    def __init__(self, commits: GroupCommit, kind: CreateKind[Any], ignored: IgnoredFields, log: RefusalLog) -> None:
        self.notes = Notes(log, kind.rpc, JSON)
        self._commits = commits
        self._codec = JsonCodec(kind, ignore_unknown=ignored.enabled)
        self._ignored = ignored

    async def __call__(self, call: HttpCall, customer: str) -> bytes:
        """Store the event that the body asks to store."""
        refuse_parameters(call.metadata.get(URL_METADATA, ""))
        self._commits.check_deadline(call.context.time_remaining)
        caller = get_caller()
        if caller.meter is not None:
            await caller.meter.spend(1, len(call.body))
        body = call.unpack_body(self.max_body_bytes)
        create = Create(self._codec, body, call.metadata.get(KEY_METADATA, ""), customer, caller)
        response = await self._commits.write(create)
        if create.replayed is not None or create.ignored:
            headers = []
            if create.replayed is not None:
                self.notes.note_replay(create.replayed, caller, call.metadata.items())
                headers.append(_REPLAYED)
            await send_headers(call, [*headers, *self._ignored.count(create.ignored)])
        return response


class HttpBatch(HttpWrite):
    """The creation of many events from JSON."""

    max_body_bytes = 8 << 20
    notes: Notes

    def __init__(self, commits: GroupCommit, turns: Turns, ignored: IgnoredFields, log: RefusalLog) -> None:
        self.notes = Notes(log, "BatchCreateAnalyticsEvents", JSON)
        self._commits = commits
        self._turns = turns
        self._reader = BatchReader(BatchCreateAnalyticsEventsRequest, ANALYTICS, ignore_unknown=ignored.enabled)
        self._ignored = ignored

    async def __call__(self, call: HttpCall, customer: str) -> bytes:
        """Store the events of the body."""
        if KEY_METADATA in call.metadata:
            # Ignoring it would let the caller believe that a retry is safe.
            raise InvalidRequest([KEY_WITH_BATCH])
        refuse_parameters(call.metadata.get(URL_METADATA, ""))
        caller = get_caller()
        if caller.meter is not None:
            await caller.meter.spend(0, len(call.body))
        async with self._turns.wait(customer):
            self._commits.check_deadline(call.context.time_remaining)
            body = call.unpack_body(self.max_body_bytes)
            batch = EventBatch(len(body), customer, caller)
            reading = self._reader.read(body)
            for events in reading:
                batch.add(events)
                await asyncio.sleep(0)  # A large batch must not hold up other calls.
            del body
        if caller.meter is not None:
            caller.meter.count(batch.event_count)
        response = format_batch(await self._commits.write(batch))
        self.notes.note_batch(batch, call.metadata.items())
        await send_headers(call, self._ignored.count(reading.ignored.elements()))
        return response


class HttpSearch(HttpRead):
    """A search whose query is in the URL."""

    def __init__(
        self,
        searcher: Searcher,
        request: type[SearchRequest],
        entity_type: str,
        unread_pages: UnreadPageLimiter,
        ignored: IgnoredFields,
    ) -> None:
        self._searcher = searcher
        self._reader = QueryReader(request, entity_type, ignore_unknown=ignored.enabled)
        self._unread_pages = unread_pages
        self._ignored = ignored

    async def __call__(self, call: HttpCall, _: str) -> bytes:
        """Return one page."""
        query, ignored = self._reader.read(self.get_url(call))
        page = await self._searcher.find(query)
        response = await join_page(format_page(query, page), self._unread_pages, call.context)
        await send_headers(call, self._ignored.count(ignored))
        return response


async def send_headers(call: HttpCall, headers: Iterable[tuple[str, str]]) -> None:
    """Send headers before the answer, if there are any."""
    if metadata := tuple(headers):
        with contextlib.suppress(grpc.aio.InternalError):  # The caller has gone.
            await call.context.send_initial_metadata(metadata)
