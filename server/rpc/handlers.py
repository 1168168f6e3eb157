"""RPC handlers for the services, in place of the generated `add_…_to_server`, so that every failure has its status.

The generated code leaves two cases to gRPC: a request that does not parse, which becomes INTERNAL, and an exception,
whose text is sent to the caller. An interceptor that changed this would take more of every RPC's time.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from server.access.caller import get_caller, renew_caller
from server.ingest.notes import GRPC, JSON, Notes
from server.messages.customer import (
    find_customer,
    find_customer_of_batch,
    find_customer_of_search,
    find_reporter,
    find_reporter_of_batch,
)
from server.messages.refusals import KEY_METADATA, MessageTooLarge
from server.rpc.call_log import CallLog, now
from server.rpc.call_meter import CallMeter
from server.rpc.errors import abort
from server.rpc.http_handlers import HttpMethod, make_http_handlers
from server.rpc.http_streams import HttpStream, make_http_stream_handlers
from server.rpc.limits import CallLimiter, Limits
from server.rpc.services import BatchRpc, CreateRpc
from server.rpc.streams import make_stream_handler
from server.tracing.interface import Tracer

MAX_REQUEST_BYTES = 1 << 20
"""The documented limit on the request of one event or of a search."""

MAX_BATCH_BYTES = 8 << 20
"""The documented limit on a batch or a chunk."""

MAX_MESSAGE_BYTES = MAX_BATCH_BYTES + (64 << 10)
"""The largest message that gRPC accepts: a batch, or one as JSON with the content type that goes with it."""

# The packages of the RPCs for JSON.
_FOR_JSON = re.compile(r"\.http(\.upload)?\.")

Method = Callable[..., Any]
"""Takes a request, the context of its call and, if it is unary, the customer whose share it takes.

Request and response are bytes; the responses of a stream are messages.
"""


def add_services(
    server: grpc.aio.Server,
    services: Mapping[ServiceDescriptor, object],
    http_services: Mapping[ServiceDescriptor, Mapping[str, HttpMethod]],
    http_streams: Mapping[ServiceDescriptor, Mapping[str, HttpStream]],
    limits: Limits,
    call_log: CallLog,
    tracer: Tracer | None = None,
    *,
    only_unix: bool = False,
) -> None:
    """Register the services under common limits.

    Args:
        server: the server, before it is started.
        services: for each service, an object whose methods bear the names of its RPCs.
        http_services: for each service, the methods for JSON by the names of their RPCs.
        http_streams: for some services, those whose response is a stream.
        limits: the limits on what is in flight.
        call_log: what logs the calls.
        tracer: what traces them, if they are traced.
        only_unix: whether only callers on a Unix socket may call the methods for JSON.
    """
    writes, searches = CallLimiter(limits.writes, limits.write_bytes), CallLimiter(limits.searches, limits.search_bytes)
    handlers: dict[str, Any] = {}
    handlers_with_key: dict[str, Any] = {}
    for descriptor, service in services.items():
        for rpc in descriptor.methods:
            method = getattr(service, rpc.name)
            path = f"/{descriptor.full_name}/{rpc.name}"
            if rpc.client_streaming:
                handlers[path] = _make_stream_handler(rpc, method, call_log)
            elif rpc.server_streaming:
                handlers[path] = make_stream_handler(rpc, method, call_log)
            elif isinstance(method, CreateRpc):
                handlers[path] = _make_unary_handler(rpc, method, writes, find_customer, call_log, method.notes)
                handlers_with_key[path] = _make_unary_handler(
                    rpc, method.call_with_key, writes, find_customer, call_log, method.notes
                )
            elif isinstance(method, BatchRpc):
                handlers[path] = _make_unary_handler(
                    rpc, method, writes, find_customer_of_batch, call_log, method.notes
                )
            elif _has_events(rpc):
                handlers[path] = _make_unary_handler(rpc, method, writes, find_customer_of_batch, call_log)
            elif rpc.name.startswith("Search"):
                handlers[path] = _make_unary_handler(rpc, method, searches, find_customer_of_search, call_log)
            else:
                handlers[path] = _make_unary_handler(rpc, method, searches, find_customer, call_log)
    for_json: dict[str, Any] = {}
    for descriptor, methods in http_services.items():
        for_json |= make_http_handlers(descriptor, methods, writes, searches, call_log, only_unix=only_unix)
    for descriptor, streams in http_streams.items():
        for_json |= make_http_stream_handlers(descriptor, streams, call_log, only_unix=only_unix)
    if tracer is not None:
        handlers, handlers_with_key = _trace(handlers, tracer, GRPC), _trace(handlers_with_key, tracer, GRPC)
        for_json = _trace(for_json, tracer, JSON)
    server.add_generic_rpc_handlers((_Handlers(handlers | for_json, handlers_with_key),))


def _trace(handlers: Mapping[str, Any], tracer: Tracer, door: str) -> dict[str, Any]:
    """Return handlers that make spans. By either door, a span names the typed RPC."""
    return {path: tracer.wrap(each, _FOR_JSON.sub(".", path[1:]), door) for path, each in handlers.items()}


class _Handlers(grpc.GenericRpcHandler):
    """The handlers of all RPCs: for a create there are two, and one is for calls with an idempotency key.

    gRPC passes the metadata when it asks for a handler. Asking for them later takes a twentieth of a create's time.
    """

    def __init__(self, handlers: dict[str, Any], handlers_with_key: dict[str, Any]) -> None:
        self._handlers = handlers
        self._handlers_with_key = handlers_with_key

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        if path in self._handlers_with_key and any(
            name == KEY_METADATA for name, _ in handler_call_details.invocation_metadata
        ):
            return self._handlers_with_key[path]
        return self._handlers.get(path)


def _make_unary_handler(
    rpc: MethodDescriptor,
    method: Method,
    limiter: CallLimiter,
    find: Callable[[bytes], str],
    call_log: CallLog,
    notes: Notes | None = None,
) -> "grpc.RpcMethodHandler[Any, Any]":
    find_sender = find_reporter_of_batch if _has_events(rpc) else find_reporter
    meter = CallMeter(rpc, GRPC, call_log)
    max_bytes = _get_max_bytes(rpc)

    async def handle(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        start = now()
        size = len(data)
        try:
            # Before the request is parsed, because a message takes many times the memory of its bytes.
            if size > max_bytes:
                raise MessageTooLarge
            await renew_caller()
            caller = get_caller()
            customer = caller.share or caller.find_share(find(data))
            limiter.acquire(customer, size)
            try:
                response = await method(data, context, customer)
            finally:
                limiter.release(customer, size)
            meter.succeed(start, context)
            return response
        except Exception as error:  # noqa: BLE001 - every failure becomes a status here
            meter.fail(start, context, error)
            if notes is not None:
                notes.note_failure(error, partial(find_sender, data), context.invocation_metadata() or ())
            await abort(context, error, rpc.input_type)
        except asyncio.CancelledError as error:
            meter.fail(start, context, error)
            raise

    behaviour: Any = handle
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _make_stream_handler(rpc: MethodDescriptor, method: Method, call_log: CallLog) -> "grpc.RpcMethodHandler[Any, Any]":
    meter = CallMeter(rpc, GRPC, call_log)
    max_bytes = _get_max_bytes(rpc)

    # gRPC would end the call as INTERNAL if this raised, so the method gets the exception in place of a request.
    def limit(data: bytes) -> bytes | Exception:
        return MessageTooLarge() if len(data) > max_bytes else data

    async def handle(
        requests: AsyncIterator[bytes | Exception], context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[Any]:
        start = now()
        try:
            async for response in method(requests, context):
                yield response
            meter.succeed(start, context)
        except Exception as error:  # noqa: BLE001 - every failure becomes a status here
            meter.fail(start, context, error)
            await abort(context, error, rpc.input_type)
        except asyncio.CancelledError as error:
            meter.fail(start, context, error)
            raise

    behaviour: Any = handle
    serializer = GetMessageClass(rpc.output_type).SerializeToString
    return grpc.stream_stream_rpc_method_handler(behaviour, request_deserializer=limit, response_serializer=serializer)


def _has_events(rpc: MethodDescriptor) -> bool:
    return "events" in rpc.input_type.fields_by_name


def _get_max_bytes(rpc: MethodDescriptor) -> int:
    return MAX_BATCH_BYTES if _has_events(rpc) else MAX_REQUEST_BYTES
