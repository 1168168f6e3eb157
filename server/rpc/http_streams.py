"""RPCs for JSON whose response is a stream. Envoy passes each part on as its caller reads.

What fails before the first part is a refusal as elsewhere, with its HTTP status. After it, the status is sent: the
stream then ends with a part that says what has failed.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from server.access.caller import renew_caller
from server.ingest.notes import JSON
from server.messages.json_codec.status import format_status
from server.messages.statuses import make_status
from server.rpc.call_log import CallLog
from server.rpc.call_meter import CallMeter, measure
from server.rpc.errors import log_bug
from server.rpc.http_handlers import find_share, join_metadata, pack, refuse
from server.rpc.http_services import HttpCall, HttpRead
from server.rpc.streams import Parts, send
from server.sharing.open_streams import OpenStreams, ServerStopping

# How long Envoy has to pass on the last part before the server stops. What it still has when the connection to the
# server closes, its caller does not get.
_PASS_ON_SECONDS = 1.0


class HttpStream(HttpRead):
    """What answers one RPC for JSON with a stream."""

    content_type: str
    """Of the stream."""
    streams: OpenStreams
    """Of which each call is one."""

    @abstractmethod
    def open(self, call: HttpCall) -> tuple[Parts, Sequence[tuple[str, str]]]:
        """Return the parts of the answer, and the headers that go before them. Raise what is wrong with the call."""

    @abstractmethod
    def format_failure(self, status: bytes) -> bytes:
        """Return the last part of a stream that fails, given the status as JSON."""


def make_http_stream_handlers(
    descriptor: ServiceDescriptor, methods: Mapping[str, HttpStream], call_log: CallLog, *, only_unix: bool
) -> dict[str, Any]:
    """Return, by the paths of the RPCs for JSON, their handlers. Which there are is said in `protos/http_body.py`.

    Args:
        descriptor: the typed service.
        methods: for the name of each RPC, its method.
        call_log: what logs the calls.
        only_unix: whether only callers on a Unix socket may call them. For all others there is no such method.
    """
    return {
        f"/{descriptor.file.package}.http.{descriptor.name}/{name}": _make_handler(
            descriptor.methods_by_name[name], method, call_log, only_unix=only_unix
        )
        for name, method in methods.items()
    }


class _Answer:
    """One stream on its way."""

    def __init__(self, method: HttpStream, metadata: Mapping[str, Any], context: Any) -> None:
        self.has_begun = False
        """Whether the status is sent, and perhaps a part."""
        self._method = method
        self._metadata = metadata
        self._context = context
        self._headers: Sequence[tuple[str, str]] = ()

    async def send(self, data: bytes) -> None:
        """Send the parts that the method returns, given the HttpBody of the request."""
        call = HttpCall(HttpBody.FromString(data).data, self._metadata, self._context)
        await renew_caller()
        parts, self._headers = self._method.open(call)
        await send(parts, self.write, self._method.streams, find_share(self._method, call))

    async def write(self, part: bytes) -> None:
        """Send one part, and the headers before the first."""
        if not self.has_begun:
            self.has_begun = True
            if self._headers:
                await self._context.send_initial_metadata(tuple(self._headers))
        await self._context.write(pack(part, self._method.content_type))


def _make_handler(
    rpc: MethodDescriptor, method: HttpStream, call_log: CallLog, *, only_unix: bool
) -> "grpc.RpcMethodHandler[Any, Any]":
    async def send(data: bytes, _: Any, answer: _Answer) -> None:
        await answer.send(data)

    send_answer = measure(CallMeter(rpc, JSON, call_log), send)

    async def handle(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        if only_unix and not context.peer().startswith("unix:"):
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")
        metadata = join_metadata(context.invocation_metadata() or ())
        answer = _Answer(method, metadata, context)
        try:
            try:
                await send_answer(data, context, answer)
            except grpc.aio.InternalError:
                raise
            except Exception as error:  # noqa: BLE001 - every failure becomes a part here
                if answer.has_begun:
                    log_bug(error, rpc.input_type, metadata.items())
                    status = make_status(error, rpc.input_type, use_json_names=True)
                    await answer.write(method.format_failure(format_status(status)))
                    if isinstance(error, ServerStopping):
                        await asyncio.sleep(_PASS_ON_SECONDS)
                else:
                    call = HttpCall(b"", metadata, context)
                    await context.write(pack(await refuse(error, rpc, method, call)))
        except grpc.aio.InternalError:
            pass  # The caller has gone.

    behaviour: Any = handle
    return grpc.unary_stream_rpc_method_handler(behaviour)
