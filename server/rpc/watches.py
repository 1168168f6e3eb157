"""The RPC that watches for events, typed and for JSON."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from data_analytics.v1.watch_pb2 import WatchAnalyticsEventsRequest
from server.messages.json_codec.query import ParameterReader, replace_parameter
from server.messages.json_codec.watch import format_failure, format_sign, format_watched
from server.messages.parse import parse
from server.messages.watching import WatchRequest, encode_sign, encode_watched, to_watch_request
from server.rpc.http_services import HttpCall
from server.rpc.http_streams import HttpStream
from server.rpc.ignored_fields import IgnoredFields
from server.rpc.permission import find_share_of_read
from server.rpc.streams import Parts
from server.sharing.open_streams import OpenStreams
from server.sharing.turns import Turns
from storage import EventStore, Watched, WatchPosition

# From the end of a step to the next one of the same watch, if there was nothing more.
_INTERVAL_SECONDS = 0.25

# How many times as long as a step took the next one waits, whosever it is. So all watches together take at most a tenth
# of a core of this server, and of the database. But it waits no longer than the other number.
_REST = 9
_MAX_REST_SECONDS = 2.0

SILENT_SECONDS = 10.0
"""How long nothing may be sent. The reference promises something every 15 s."""

_LAST_EVENT_ID = "last-event-id"
_HEADERS = [("cache-control", "no-store")]


class WatchCodec(NamedTuple):
    """The form of the responses."""

    encode_sign: Callable[[str, WatchRequest, WatchPosition], bytes]
    """Returns a response without events, `begin` or `heartbeat`."""
    encode_watched: Callable[[WatchRequest, Watched], Iterable[bytes]]
    """Returns the responses that carry the events of a step."""


class Watcher:
    """The watches of one server, of whose steps customers take turns. Belongs to one event loop."""

    def __init__(self, store: EventStore, streams: OpenStreams) -> None:
        """Create it without a watch."""
        self.streams = streams
        """The watches that are open."""
        self._store = store
        self.turns = Turns(1, places_each=1)
        """Those of the customers."""
        self._rested_at = 0.0

    async def watch(self, request: WatchRequest, codec: WatchCodec) -> Parts:
        """Yield the responses of a watch, which does not end by itself.

        Raises:
            NotPermitted: the caller may not see all of these events.
            PositionLost, TooManySearches, DatabaseUnavailable, SearchTimedOut: as `EventStore.watch` does.
        """
        query = request.query
        share = find_share_of_read(query)
        position = request.position
        if position is None:
            async with self.turns.wait(share):
                position = await self._store.begin_watch(query.customer_id)
            yield codec.encode_sign("begin", request, position)
        # The first step comes before the beginning if it must find out whether the position is one of this database.
        has_begun = request.position is None
        sent_at = time.monotonic()
        step = self._start(share, request, position, codec, _INTERVAL_SECONDS if has_begun else 0.0)
        try:
            while True:
                silent = sent_at + SILENT_SECONDS - time.monotonic()
                await asyncio.wait([step], timeout=max(silent, 0) if has_begun else None)
                if not step.done():
                    yield codec.encode_sign("heartbeat", request, position)
                    sent_at = time.monotonic()
                    continue
                following, parts = step.result()
                if not has_begun:
                    yield codec.encode_sign("begin", request, position)
                    has_begun = True
                for part in parts:
                    yield part
                    sent_at = time.monotonic()
                position = following
                is_behind = position.upto is not None
                step = self._start(share, request, position, codec, 0.0 if is_behind else _INTERVAL_SECONDS)
        finally:
            step.cancel()

    def _start(
        self, share: str, request: WatchRequest, position: WatchPosition, codec: WatchCodec, seconds: float
    ) -> "asyncio.Task[tuple[WatchPosition, Sequence[bytes]]]":
        """Start the step of a watch that follows in so many seconds.

        Its result is the position behind it, and the responses that it takes.
        """
        step = asyncio.create_task(self._step(share, request, position, codec, seconds))
        step.add_done_callback(_retrieve)  # Whoever waited for it may be gone.
        return step

    async def _step(
        self, share: str, request: WatchRequest, position: WatchPosition, codec: WatchCodec, seconds: float
    ) -> tuple[WatchPosition, Sequence[bytes]]:
        await asyncio.sleep(seconds)
        async with self.turns.wait(share):
            await asyncio.sleep(self._rested_at - time.monotonic())
            began = time.monotonic()
            try:
                watched = await self._store.watch(request.query, position)
                parts = await _join(codec.encode_watched(request, watched)) if watched.events else []
            finally:
                now = time.monotonic()
                self._rested_at = now + min(_REST * (now - began), _MAX_REST_SECONDS)
        return watched.position, parts


async def _join(parts: Iterable[bytes]) -> list[bytes]:
    """Return the parts, made one after another, between which others can have the event loop."""
    made = []
    for part in parts:
        made.append(part)
        await asyncio.sleep(0)
    return made


def _retrieve(step: "asyncio.Task[tuple[WatchPosition, Sequence[bytes]]]") -> None:
    if not step.cancelled():
        step.exception()


_TYPED = WatchCodec(encode_sign, encode_watched)
_EVENT_STREAM = WatchCodec(format_sign, format_watched)


class TypedWatch:
    """A watch as a typed RPC, from bytes to bytes."""

    def __init__(self, watcher: Watcher) -> None:
        """Answer with what `watcher` sees."""
        self.streams = watcher.streams
        self._watcher = watcher

    def __call__(self, data: bytes) -> Parts:
        """Return the responses."""
        return self._watcher.watch(to_watch_request(parse(WatchAnalyticsEventsRequest, data)), _TYPED)


class HttpWatch(HttpStream):
    """A watch that is asked for by its URL."""

    content_type = "text/event-stream"

    def __init__(self, watcher: Watcher, ignored: IgnoredFields) -> None:
        """Compile the reader of the URLs."""
        self.streams = watcher.streams
        self._watcher = watcher
        self._ignored = ignored
        self._reader = ParameterReader(WatchAnalyticsEventsRequest, to_watch_request, ignore_unknown=ignored.enabled)

    def open(self, call: HttpCall) -> tuple[Parts, Sequence[tuple[str, str]]]:
        """Return the server-sent events."""
        url = self.get_url(call)
        if token := call.metadata.get(_LAST_EVENT_ID):
            # An EventSource that reconnects asks with the URL that it began with.
            url = replace_parameter(url, "resumeToken", token)
        request, ignored = self._reader.read(url)
        return self._watcher.watch(request, _EVENT_STREAM), [*_HEADERS, *self._ignored.count(ignored)]

    def format_failure(self, status: bytes) -> bytes:
        """Return the last event of a watch that fails."""
        return format_failure(status)
