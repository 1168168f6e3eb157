"""The spans of calls and of commits, named as OpenTelemetry's conventions have it. They hold nothing of a customer."""

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.metrics.catalog import SPANS_DROPPED
from server.request_ids import Metadata, find_request_ids
from server.tracing.interface import CallSpan, call_span

# What the conventions for gRPC call an error of the server.
_ERRORS = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}

CALLS_EACH_SECOND = 100
"""How many calls a worker traces a second, and how many commits. Callers say by their traceparent which of their calls
are traced, so without a bound anybody could slow it down."""

_PARENT_METADATA = "traceparent"
_W3C = TraceContextTextMapPropagator()


def find_parent(metadata: Metadata) -> Context:
    """Return the context of a call's caller. What is malformed is ignored, and so is `tracestate`."""
    found = next((value for name, value in metadata if name == _PARENT_METADATA), "")
    return _W3C.extract({_PARENT_METADATA: found}, Context())


class RpcSpan:
    """The span of a call: see `server.tracing.interface.CallSpan`."""

    __slots__ = ("_code", "_span", "trace_id")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._code = "OK"
        self.trace_id = format_trace_id(span.get_span_context().trace_id)

    @property
    def span(self) -> Span:
        """OpenTelemetry's span."""
        return self._span

    def fail(self, code: str, cause: str) -> None:
        """Note that the call fails."""
        self._code = code
        self._span.set_attribute("error.type", cause)
        if code in _ERRORS:
            self._span.set_status(Status(StatusCode.ERROR, cause))

    def end(self) -> None:
        """End it."""
        self._span.set_attribute("rpc.response.status_code", self._code)
        self._span.end()


class DatabaseSpan:
    """The span of a commit: see `server.tracing.interface.CommitSpan`."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, failed: int, cause: str) -> None:
        """End it."""
        if failed:
            self._span.set_attributes({"analytics.events.failed": failed, "error.type": cause})
            self._span.set_status(Status(StatusCode.ERROR, cause))
        self._span.end()


class _Budget:
    """How many spans may still be made within this second."""

    def __init__(self, each_second: int) -> None:
        self._each_second = each_second
        self._second = 0
        self._spent = 0

    def is_spent(self) -> bool:
        """Return whether nothing is left, which is counted."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._spent = second, 0
        if self._spent < self._each_second:
            return False
        SPANS_DROPPED.add("over_rate")
        return True

    def spend(self) -> None:
        """Count a span."""
        self._spent += 1


class SpanMaker:
    """Makes the spans of one server."""

    def __init__(self, tracer: Tracer, calls_each_second: int) -> None:
        """Create it.

        Args:
            tracer: OpenTelemetry's.
            calls_each_second: how many calls, and as many commits, are traced a second, at most.
        """
        self._tracer = tracer
        self._calls = _Budget(calls_each_second)
        self._commits = _Budget(calls_each_second)  # A stream has many.

    def wrap(self, handler: Any, rpc: str, door: str) -> Any:
        """Return a handler as `server.tracing.interface.Tracer` has it."""
        inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        attributes = {"rpc.system.name": "grpc", "rpc.method": rpc, "analytics.door": door}

        async def answer(request: Any, context: Any) -> Any:
            span = self._begin_call(attributes, context.invocation_metadata() or ())
            try:
                return await inner(request, context)
            finally:
                if span is not None:
                    span.end()

        async def stream(requests: Any, context: Any) -> AsyncIterator[Any]:
            span = self._begin_call(attributes, context.invocation_metadata() or ())
            try:
                async with contextlib.aclosing(inner(requests, context)) as responses:
                    async for response in responses:
                        yield response
            finally:
                if span is not None:
                    span.end()

        make, behaviour = _find_form(handler, answer, stream)
        return make(behaviour, handler.request_deserializer, handler.response_serializer)

    def begin_commit(self, lane: str, calls: Sequence[CallSpan], events: int) -> DatabaseSpan | None:
        """Begin the span of a commit: a child of the first call's, linked to those of all calls.

        Return None if there are too many of them.
        """
        if self._commits.is_spent():
            return None
        self._commits.spend()
        spans = [call.span for call in calls if isinstance(call, RpcSpan)]
        return DatabaseSpan(
            self._tracer.start_span(
                "commit",
                context=set_span_in_context(spans[0], Context()),
                kind=SpanKind.CLIENT,
                attributes={
                    "db.system.name": "postgresql",
                    "db.collection.name": "analytics_event",
                    "db.operation.batch.size": events,
                    "analytics.lane": lane,
                },
                links=[Link(span.get_span_context()) for span in spans],
            )
        )

    def _begin_call(self, attributes: dict[str, Any], metadata: Metadata) -> RpcSpan | None:
        """Begin the span of a call, and set it for the call. Return None if the call is not traced."""
        if self._calls.is_spent():
            return None
        span = self._tracer.start_span(
            attributes["rpc.method"], find_parent(metadata), SpanKind.SERVER, attributes=attributes
        )
        if not span.is_recording():
            return None
        self._calls.spend()
        if request_id := find_request_ids(metadata).request_id:
            span.set_attribute("rpc.request.metadata.x-request-id", [request_id])
        call = RpcSpan(span)
        call_span.set(call)
        return call


def _find_form(handler: Any, answer: Any, stream: Any) -> tuple[Any, Any]:
    """Return what makes a handler of the same form, and which of both behaviours it takes."""
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler, answer
    if handler.stream_unary:
        return grpc.stream_unary_rpc_method_handler, answer
    if handler.unary_stream:  # It writes its responses itself.
        return grpc.unary_stream_rpc_method_handler, answer
    return grpc.stream_stream_rpc_method_handler, stream
