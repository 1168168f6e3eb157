"""A receiver of traces by OTLP, such as a collector is."""

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.until import until


class Receiver(TraceServiceServicer):
    """Keeps the spans that it gets, by the names of their services."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        """While it is not set, nobody gets an answer."""
        self.goes_on.set()
        self.requests: list[Any] = []
        self.port = 0

    def Export(self, request: Any, context: Any) -> ExportTraceServiceResponse:
        """Keep spans."""
        self.requests.append(request)
        self.goes_on.wait(30)
        return ExportTraceServiceResponse()

    @property
    def spans(self) -> list[tuple[str, Span]]:
        """All spans, each with the name of the service that made it."""
        found = []
        for request in list(self.requests):
            for resource in request.resource_spans:
                attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
                found += [(attributes["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
        return found

    def find(self, trace_id: str, count: int) -> dict[str, Span]:
        """Wait for so many spans of a trace, and return them by name."""

        def found() -> dict[str, Span]:
            return {f"{service} {span.name}": span for service, span in self.spans if span.trace_id.hex() == trace_id}

        until(lambda: len(found()) >= count)
        return found()


def read_attributes(span: Span) -> dict[str, Any]:
    """Return the attributes of a span. Of a list, the first value."""
    values = {}
    for each in span.attributes:
        value = each.value.array_value.values[0] if each.value.HasField("array_value") else each.value
        values[each.key] = getattr(value, str(value.WhichOneof("value")))
    return values


def list_links(span: Span) -> set[bytes]:
    """Return the ids of the spans that a span is linked to."""
    return {link.span_id for link in span.links}


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on a free port."""
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]  # generated
    receiver.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield receiver
    finally:
        receiver.goes_on.set()
        server.stop(0).wait()
