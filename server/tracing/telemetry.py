"""OpenTelemetry's SDK within bounds: what it samples, what waits to be exported, and how long a stop waits for it."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from server.metrics.catalog import SPANS_DROPPED, SPANS_EXPORTED
from server.tracing.spans import CALLS_EACH_SECOND, SpanMaker
from server.version import PACKAGE, find_version

log = logging.getLogger(__name__)

_MAX_WAITING = 2_048
_CLOSE_SECONDS = 1.0
_LOG_SECONDS = 60.0


def make_exporter() -> SpanExporter:
    """Return what exports spans by OTLP. OpenTelemetry's own variables say where to, and how."""
    return OTLPSpanExporter()


class Telemetry(SpanMaker):
    """What traces the calls of one server: see `server.tracing.interface.Tracer`."""

    def __init__(self, exporter: SpanExporter, calls_each_second: int = CALLS_EACH_SECOND) -> None:
        """Begin to export.

        Args:
            exporter: where spans go.
            calls_each_second: how many calls are traced a second, at most.

        Raises:
            Exception: a variable of OpenTelemetry is malformed.
        """
        resource = Resource.create({SERVICE_VERSION: find_version()})
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):  # No variable says another.
            resource = resource.merge(Resource({SERVICE_NAME: PACKAGE}))
        self._exporter = _CountedExporter(exporter)
        self._spans = _BoundedQueue(self._exporter)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(self._spans)
        super().__init__(self._provider.get_tracer(PACKAGE, find_version()), calls_each_second)

    async def close(self) -> None:
        """Export what is left, but not for long."""
        closed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # It has taken longer than the stop, and the loop is closed.
                loop.call_soon_threadsafe(closed.set)

        threading.Thread(target=shut_down, name="traces", daemon=True).start()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await closed.wait()
        except TimeoutError:
            log.warning("spans are not exported: there is no more time", extra={"spans": self._spans.waiting})


class _CountedExporter(SpanExporter):
    """Exports by another exporter, and counts what becomes of it. Runs in the SDK's thread."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._logged_at = float("-inf")
        self.taken = 0
        """How many spans are no longer in the queue."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export spans."""
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                SPANS_EXPORTED.add(amount=len(spans))
            else:
                SPANS_DROPPED.add("export_failed", amount=len(spans))
                self._log(len(spans))
        return result

    def shutdown(self) -> None:
        """Stop, and give up what is being exported."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return whether nothing is left."""
        return self._inner.force_flush(timeout_millis)

    def _log(self, spans: int) -> None:
        if time.monotonic() - self._logged_at > _LOG_SECONDS:
            self._logged_at = time.monotonic()
            log.warning("spans could not be exported; the next line is in a minute at most", extra={"spans": spans})


class _BoundedQueue(SpanProcessor):
    """The spans that wait to be exported. One for which there is no room is dropped and counted; no call waits."""

    def __init__(self, exporter: _CountedExporter) -> None:
        self._exporter = exporter
        self._inner = BatchSpanProcessor(exporter, max_queue_size=_MAX_WAITING)
        self._handed = 0

    @property
    def waiting(self) -> int:
        """How many spans wait."""
        return self._handed - self._exporter.taken

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span."""
        if self.waiting >= _MAX_WAITING:
            SPANS_DROPPED.add("queue_full")
            return
        self._handed += 1
        self._inner.on_end(span)

    def shutdown(self) -> None:
        """Export what is left."""
        self._inner.shutdown()  # type: ignore[no-untyped-call]  # it takes nothing

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what is there now."""
        return self._inner.force_flush(timeout_millis)
