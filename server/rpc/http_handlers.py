"""RPC handlers for the JSON services: they unpack `HttpBody`, and turn every failure into a response as JSON."""

import contextlib
from collections.abc import Mapping
from typing import Any, Protocol

import grpc
import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from server.messages.json_codec.body import ENCODINGS
from server.messages.json_codec.status import format_status
from server.messages.refusals import UnsupportedEncoding, find_retry_seconds, get_http_status, make_status
from server.rpc.call_log import log_calls
from server.rpc.errors import log_bug
from server.rpc.http_services import HttpCall, HttpSearch
from server.rpc.limits import CallLimiter

STATUS_METADATA = "x-http-status"
"""Read by `envoy.lua`, which makes it the status of the response."""

_JSON = "application/json"


class HttpMethod(Protocol):
    """What answers one RPC for JSON."""

    def find_customer(self, call: HttpCall) -> str:
        """Return the customer whose share the call takes, or "" if that cannot be told."""

    async def __call__(self, call: HttpCall, customer: str, /) -> bytes:
        """Return the body of the answer."""


def make_http_handlers(
    descriptor: ServiceDescriptor, methods: Mapping[str, HttpMethod], writes: CallLimiter, searches: CallLimiter
) -> dict[str, Any]:
    """Return, by the paths of the RPCs for JSON, their handlers.

    Args:
        descriptor: the typed service.
        methods: for the name of each RPC, its method.
        writes: the limiter of the creates and batches.
        searches: the limiter of the searches.
    """
    service = f"{descriptor.file.package}.http.{descriptor.name}"
    rpcs = descriptor.methods_by_name
    return {
        f"/{service}/{name}": _make_handler(rpcs[name], method, searches if isinstance(method, HttpSearch) else writes)
        for name, method in methods.items()
    }


def _make_handler(rpc: MethodDescriptor, method: HttpMethod, limiter: CallLimiter) -> "grpc.RpcMethodHandler[Any, Any]":
    call_method = log_calls(rpc, method)

    async def handle(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
        metadata = _join_metadata(context.invocation_metadata() or ())
        try:
            call = HttpCall(HttpBody.FromString(data).data, metadata, context)
            customer = method.find_customer(call)
            limiter.acquire(customer, len(data))
            try:
                body = await call_method(call, customer)
            finally:
                limiter.release(customer, len(data))
        except Exception as error:  # noqa: BLE001 - every failure becomes a response here
            log_bug(error, rpc.input_type, metadata)
            body = await _refuse(error, rpc, context)
        response: bytes = HttpBody(content_type=_JSON, data=body).SerializeToString()
        return response

    behaviour: Any = handle
    return grpc.unary_unary_rpc_method_handler(behaviour)


def _join_metadata(pairs: Any) -> dict[str, Any]:
    """Return the metadata by name. The values of a name that stands twice are joined, as HTTP joins them."""
    metadata: dict[str, Any] = dict(pairs)
    if len(metadata) != len(pairs):
        for name in metadata:
            metadata[name] = ", ".join([str(value) for each, value in pairs if each == name])
    return metadata


async def _refuse(error: Exception, rpc: MethodDescriptor, context: Any) -> bytes:
    """Send the headers of a refusal, and return its body."""
    status = make_status(error, rpc.input_type, use_json_names=True)
    headers = [(STATUS_METADATA, str(get_http_status(error)))]
    if seconds := find_retry_seconds(status):
        headers.append(("retry-after", str(seconds)))
    if isinstance(error, UnsupportedEncoding):
        headers.append(("accept-encoding", ", ".join(ENCODINGS)))
    with contextlib.suppress(grpc.aio.InternalError):  # The caller has gone.
        await context.send_initial_metadata(tuple(headers))
    return format_status(status)
