"""The RPC that exports events, typed and for JSON."""

import time
from collections.abc import Sequence

from data_analytics.v1.export_pb2 import ExportAnalyticsEventsRequest
from server.messages.export import ExportRequest, Progress, encode_step, to_export_request
from server.messages.json_codec.export import format_end, format_failure, format_place, format_step
from server.messages.json_codec.query import ParameterReader
from server.messages.parse import parse
from server.rpc.http_services import HttpCall
from server.rpc.http_streams import HttpStream
from server.rpc.ignored_fields import IgnoredFields
from server.rpc.permission import find_share_of_read
from server.rpc.streams import Parts
from server.sharing.open_streams import OpenStreams
from server.sharing.turns import Turns
from storage import EventStore, Export, ReplicaExport, Step

# As many steps as storage has connections for.
_STEPS = 2
_STEPS_EACH = 1

# How long nothing may be sent while the server searches. Proxies take a silent connection for a dead one.
_SILENT_SECONDS = 10.0


class _RunningExport:
    """One export on its way to its caller."""

    def __init__(self, export: Export | ReplicaExport, request: ExportRequest, turns: Turns, share: str) -> None:
        self.progress = Progress(request, export.until_id)
        self._export = export
        self._turns = turns
        self._share = share
        self._sent_at = time.monotonic()

    async def read(self) -> Step:
        """Return the next step, once it has some events, is the last, or has taken long to find none."""
        while True:
            async with self._turns.wait(self._share):
                step = await self._export.read()
            now = time.monotonic()
            if step.events or step.is_last or now > self._sent_at + _SILENT_SECONDS:
                self._sent_at = now
                return step


class Exporter:
    """The exports of one server, of whose steps customers take turns. Belongs to one event loop."""

    def __init__(self, store: EventStore, streams: OpenStreams) -> None:
        """Create it without an export in progress."""
        self.streams = streams
        """The exports that are open."""
        self._store = store
        self.turns = Turns(_STEPS, places_each=_STEPS_EACH)
        """Those of the customers."""

    async def begin(self, request: ExportRequest) -> _RunningExport:
        """Begin with what a caller asks for.

        Raises:
            NotPermitted: the caller may not see all of these events.
        """
        query = request.query
        share = find_share_of_read(query)
        async with self.turns.wait(share):
            export = await self._store.begin_export(query)
        return _RunningExport(export, request, self.turns, share)


class TypedExport:
    """An export as a typed RPC, from bytes to bytes."""

    def __init__(self, exporter: Exporter) -> None:
        """Answer with what `exporter` exports."""
        self.streams = exporter.streams
        self._exporter = exporter

    async def __call__(self, data: bytes) -> Parts:
        """Yield the responses."""
        request = to_export_request(parse(ExportAnalyticsEventsRequest, data))
        export = await self._exporter.begin(request)
        is_last = False
        while not is_last:
            step = await export.read()
            for part in encode_step(export.progress, step):
                yield part
            is_last = step.is_last


class HttpExport(HttpStream):
    """An export that is asked for by its URL."""

    content_type = "application/x-ndjson"

    def __init__(self, exporter: Exporter, ignored: IgnoredFields) -> None:
        """Compile the reader of the URLs."""
        self.streams = exporter.streams
        self._exporter = exporter
        self._ignored = ignored
        self._reader = ParameterReader(ExportAnalyticsEventsRequest, to_export_request, ignore_unknown=ignored.enabled)

    def open(self, call: HttpCall) -> tuple[Parts, Sequence[tuple[str, str]]]:
        """Return the lines."""
        request, ignored = self._reader.read(self.get_url(call))
        return self._export(request), list(self._ignored.count(ignored))

    def format_failure(self, status: bytes) -> bytes:
        """Return the last line of an export that fails."""
        return format_failure(status)

    async def _export(self, request: ExportRequest) -> Parts:
        export = await self._exporter.begin(request)
        is_last = False
        while not is_last:
            step = await export.read()
            is_last = step.is_last
            if not step.events and not is_last:
                yield format_place(export.progress, step)
            for part in format_step(export.progress, step):
                yield part
        yield format_end(export.progress)
