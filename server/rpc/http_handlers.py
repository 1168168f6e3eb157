"""RPC handlers for the JSON services: they unpack `HttpBody`, and turn every failure into a response as JSON."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Protocol

import grpc
import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from server.access.caller import get_caller, renew_caller
from server.ingest.notes import JSON as BY_JSON
from server.ingest.notes import Notes
from server.messages.json_codec.body import ENCODINGS
from server.messages.json_codec.status import format_status
from server.messages.refusals import MessageTooLarge, RequestLate, UnsupportedEncoding
from server.messages.statuses import get_http_status, make_headers, make_status
from server.rpc.call_log import CallLog, now
from server.rpc.call_meter import CallMeter
from server.rpc.erasures import HttpErase, HttpGetErasure
from server.rpc.errors import log_bug
from server.rpc.http_services import HttpCall, HttpRead, HttpSearch
from server.rpc.limits import CallLimiter, Upload
from server.rpc.lists import HttpGet, HttpList
from server.rpc.refusal_lists import HttpListRefusals
from server.rpc.summaries import HttpSummary

STATUS_METADATA = "x-http-status"
"""Read by `envoy.lua`, which makes it the status of the response."""

JSON = "application/json"
"""The content type of all answers but streams."""

# How long a body may take to arrive. Envoy allows 60 s.
_BODY_SECONDS = 65.0

# The size of the parts in which a response is sent.
_PART_BYTES = 256 << 10


class HttpMethod(Protocol):
    """What answers one RPC for JSON."""

    max_body_bytes: int
    """The documented limit on the body, as sent and as unpacked."""

    @property
    def notes(self) -> Notes | None:
        """The notes of what is refused, if they are kept."""

    def find_customer(self, call: HttpCall) -> str:
        """Return the customer whose share the call takes, or "" if that cannot be told."""

    async def __call__(self, call: HttpCall, customer: str, /) -> bytes:
        """Return the body of the answer."""


def make_http_handlers(
    descriptor: ServiceDescriptor,
    methods: Mapping[str, HttpMethod],
    writes: CallLimiter,
    searches: CallLimiter,
    call_log: CallLog,
    *,
    only_unix: bool,
) -> dict[str, Any]:
    """Return, by the paths of the RPCs for JSON, their handlers. Which there are is said in `protos/http_body.py`.

    Args:
        descriptor: the typed service.
        methods: for the name of each RPC, its method.
        writes: the limiter of the creates and batches.
        searches: the limiter of the searches, lists and erasures.
        call_log: what logs the calls.
        only_unix: whether only callers on a Unix socket may call them.
    """
    package, service = f"{descriptor.file.package}.http", descriptor.name
    handlers: dict[str, Any] = {}
    for name, method in methods.items():
        rpc = descriptor.methods_by_name[name]
        if isinstance(method, HttpSearch | HttpList | HttpListRefusals | HttpSummary):
            handlers[f"/{package}.{service}/{name}"] = _make_search_handler(rpc, method, searches, call_log)
        elif isinstance(method, HttpErase | HttpGetErasure | HttpGet):
            handlers[f"/{package}.{service}/{name}"] = _make_small_handler(rpc, method, searches, call_log)
        else:
            handlers[f"/{package}.upload.{service}/{name}"] = _make_upload_handler(rpc, method, writes, call_log)
            handlers[f"/{package}.{service}/{name}"] = _make_small_handler(rpc, method, writes, call_log)
    return {path: _close(handler) for path, handler in handlers.items()} if only_unix else handlers


def _close(handler: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return `handler` for callers on a Unix socket alone. For all others there is no such method."""
    answer = handler.stream_unary or handler.unary_unary

    async def handle(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        if not context.peer().startswith("unix:"):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        body: bytes = await answer(request, context)
        return body

    behaviour: Any = handle
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(behaviour)
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _make_small_handler(
    rpc: MethodDescriptor, method: HttpMethod, limiter: CallLimiter, call_log: CallLog
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return a handler for a body that comes whole."""
    answer = _make_answer(rpc, method, limiter, call_log)

    async def handle(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        return pack(await answer(data, context))

    behaviour: Any = handle
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _make_search_handler(
    rpc: MethodDescriptor, method: HttpMethod, limiter: CallLimiter, call_log: CallLog
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return a handler whose response is sent in parts, as its caller reads it."""
    answer = _make_answer(rpc, method, limiter, call_log)

    async def handle(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        body = await answer(data, context)
        # Over HTTP/2 a single response looks like a stream of one, and costs less.
        last = (len(body) - 1) // _PART_BYTES * _PART_BYTES
        for start in range(0, last, _PART_BYTES):
            await context.write(pack(body[start : start + _PART_BYTES]))
        return pack(body[last:])

    behaviour: Any = handle
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _make_upload_handler(
    rpc: MethodDescriptor, method: HttpMethod, limiter: CallLimiter, call_log: CallLog
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return a handler for a body that comes in parts."""
    meter = CallMeter(rpc, BY_JSON, call_log)

    async def handle(requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        start = now()
        call = HttpCall(b"", join_metadata(context.invocation_metadata() or ()), context)
        parts: list[bytes] = []
        try:
            with Upload(limiter) as upload:
                customer = await _read_body(requests, call, parts, upload, method)
                call = call._replace(body=b"".join(parts))
                del parts[1:]  # If it is refused, the beginning tells who sent it.
                await renew_caller()
                answer: bytes = await method(call, customer)
            meter.succeed(start, context)
        except Exception as error:  # noqa: BLE001 - every failure becomes a response here
            meter.fail(start, context, error)
            answer = await refuse(error, rpc, method, call._replace(body=b"".join(parts[:1])))
        except asyncio.CancelledError as error:
            meter.fail(start, context, error)
            raise
        return pack(answer)

    behaviour: Any = handle
    return grpc.stream_unary_rpc_method_handler(behaviour)


def find_share(method: HttpMethod | HttpRead, call: HttpCall) -> str:
    """Return whose share of the server's limits a call takes."""
    caller = get_caller()
    return caller.share or caller.find_share(method.find_customer(call))


async def _read_body(
    requests: AsyncIterator[bytes], call: HttpCall, parts: list[bytes], upload: Upload, method: HttpMethod
) -> str:
    """Append the parts of the body of a call, and return its customer.

    Raises:
        MessageTooLarge: the body is larger than the method takes.
        RequestLate: it has not arrived in time.
        TooManyCalls: the customer has its share.
    """
    size = 0
    customer = ""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for data in requests:
                part = HttpBody.FromString(data).data
                if not parts:
                    customer = find_share(method, call._replace(body=part))
                    upload.begin(customer)
                upload.add(len(part))
                parts.append(part)
                size += len(part)
                if size > method.max_body_bytes:
                    raise MessageTooLarge
    except TimeoutError:
        raise RequestLate from None
    return customer


def _make_answer(
    rpc: MethodDescriptor, method: HttpMethod, limiter: CallLimiter, call_log: CallLog
) -> Callable[[bytes, Any], Coroutine[Any, Any, bytes]]:
    """Return a function from the HttpBody of a request to the body of the answer."""
    meter = CallMeter(rpc, BY_JSON, call_log)

    async def answer(data: bytes, context: Any) -> bytes:
        start = now()
        metadata = join_metadata(context.invocation_metadata() or ())
        call = None
        try:
            body = HttpBody.FromString(data)
            call = HttpCall(body.data, metadata, context, body.content_type)
            await renew_caller()
            customer = find_share(method, call)
            limiter.acquire(customer, len(data))
            try:
                response: bytes = await method(call, customer)
            finally:
                limiter.release(customer, len(data))
            meter.succeed(start, context)
            return response
        except Exception as error:  # noqa: BLE001 - every failure becomes a response here
            meter.fail(start, context, error)
            return await refuse(error, rpc, method, call or HttpCall(b"", metadata, context))
        except asyncio.CancelledError as error:
            meter.fail(start, context, error)
            raise

    return answer


def pack(body: bytes, content_type: str = JSON) -> bytes:
    """Return a response with this body."""
    message: bytes = HttpBody(content_type=content_type, data=body).SerializeToString()
    return message


def join_metadata(pairs: Any) -> dict[str, Any]:
    """Return the metadata by name. The values of a name that stands twice are joined, as HTTP joins them."""
    metadata: dict[str, Any] = dict(pairs)
    if len(metadata) != len(pairs):
        for name in metadata:
            metadata[name] = ", ".join([str(value) for each, value in pairs if each == name])
    return metadata


async def refuse(error: Exception, rpc: MethodDescriptor, method: HttpMethod | HttpRead, call: HttpCall) -> bytes:
    """Note a failure, log it if it is a bug, send the headers of its refusal, and return its body."""
    if method.notes is not None:
        method.notes.note_failure(error, call.find_reporter, call.metadata.items())
    log_bug(error, rpc.input_type, call.metadata.items())
    status = make_status(error, rpc.input_type, use_json_names=True)
    headers = [(STATUS_METADATA, str(get_http_status(error))), *make_headers(error, status)]
    if isinstance(error, UnsupportedEncoding):
        headers.append(("accept-encoding", ", ".join(ENCODINGS)))
    with contextlib.suppress(grpc.aio.InternalError):  # The caller has gone.
        await call.context.send_initial_metadata(tuple(headers))
    return format_status(status)
