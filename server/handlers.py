"""Servicers to RPC handlers: as the generated `add_…_to_server` does it, but every failure has its status.

The generated code leaves two things to the library: a request that does not parse, which it calls INTERNAL, and an
exception in a servicer, whose text it sends to the caller. An interceptor would cost every RPC more than this.
"""

import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from server.creates import KEY, Creates
from server.errors import MalformedMessage, MessageTooLarge, TooManyCalls, abort, is_from_json

MAX_BYTES = 1 << 20
"""The limit of CONTRACT.md for the request of one event or of a search."""

MAX_BATCH_BYTES = 8 << 20
"""Its limit for a batch."""

MAX_MESSAGE_BYTES = 6 * MAX_BATCH_BYTES
"""The largest message that is looked at. Envoy holds JSON to the limits above; as a message it may grow, by a factor of
5.5 if it is all `version_info` of lists of zeros."""

MAX_CALLS = 1_000
"""How many unary calls a server works on at once. At its full rate, the last of them waits half a second."""

MAX_STREAMS = 32
"""How many streams it has open. Each may have several chunks of the size of a batch under way."""

log = logging.getLogger(__name__)


class Places:
    """A number of calls that may be under way at once, over all services of a server. Health checks take none."""

    def __init__(self, count: int) -> None:
        self._free = count

    def __enter__(self) -> None:
        """Takes a place. Raises TooManyCalls if there is none."""
        if not self._free:
            raise TooManyCalls
        self._free -= 1

    def __exit__(self, *_: object) -> None:
        self._free += 1


def add_services(server: grpc.aio.Server, servicers: Mapping[ServiceDescriptor, object]) -> None:
    """Has `server` answer the RPCs of each service by its servicer, within the bounds above."""
    calls, streams = Places(MAX_CALLS), Places(MAX_STREAMS)
    for service, servicer in servicers.items():
        _add_service(server, service, servicer, calls, streams)


def _add_service(
    server: grpc.aio.Server, service: ServiceDescriptor, servicer: object, calls: Places, streams: Places
) -> None:
    """Unary or streaming both ways, by the methods of `servicer` that bear their names."""
    handlers = {}
    keyed = {}
    for method in service.methods:
        behaviour = getattr(servicer, method.name)
        path = f"/{service.full_name}/{method.name}"
        if isinstance(behaviour, Creates):
            handlers[path] = _bytes_handler(method, behaviour, calls)
            keyed[path] = _bytes_handler(method, behaviour.with_key, calls)
        else:
            handlers[path] = _handler(method, behaviour, streams if method.client_streaming else calls)
    server.add_generic_rpc_handlers((_Service(handlers, keyed),))


class _Service(grpc.GenericRpcHandler):
    """Chooses the handler of a call: of two where an idempotency key makes a difference.

    It is here that the metadata are at hand anyway. To ask for them later costs a create a twentieth of its time.
    """

    def __init__(self, handlers: dict[str, Any], keyed: dict[str, Any]) -> None:
        self._handlers = handlers
        self._keyed = keyed

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        if path in self._keyed and any(name == KEY for name, _ in handler_call_details.invocation_metadata):
            return self._keyed[path]
        return self._handlers.get(path)


def _logged(method: MethodDescriptor, behaviour: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`behaviour`, logged if requests are to be: a server that does not log them spends no thought on it at each."""
    if not log.isEnabledFor(logging.DEBUG) or method.client_streaming:
        return behaviour

    async def answer(request: Message, context: Any) -> Any:
        start = time.perf_counter()
        outcome = "ok"
        try:
            return await behaviour(request, context)
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            milliseconds = round((time.perf_counter() - start) * 1000, 3)
            log.debug("answered", extra={"rpc": method.full_name, "outcome": outcome, "milliseconds": milliseconds})

    return answer


def _bytes_handler(
    method: MethodDescriptor, behaviour: Callable[[Any, Any], Any], places: Places
) -> "grpc.RpcMethodHandler[Any, Any]":
    behaviour = _logged(method, behaviour)

    async def answer(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        try:
            if len(data) > MAX_BYTES and not is_from_json(context):
                raise MessageTooLarge
            with places:
                return await behaviour(data, context)
        except Exception as error:  # noqa: BLE001 - the border of the program: none may pass it as it is
            await abort(context, error, method.input_type)

    behave: Any = answer
    return grpc.unary_unary_rpc_method_handler(behave)


def _handler(
    method: MethodDescriptor, behaviour: Callable[[Any, Any], Any], places: Places
) -> "grpc.RpcMethodHandler[Any, Any]":
    behaviour = _logged(method, behaviour)
    request_class = GetMessageClass(method.input_type)
    most = MAX_BATCH_BYTES if "events" in method.input_type.fields_by_name else MAX_BYTES

    # What cannot be parsed is passed on as the exception that it is, since the library would have its own word for it.
    def parse(data: bytes) -> Message | Exception:
        try:
            request = request_class.FromString(data)
        except DecodeError:
            return MalformedMessage()
        return MessageTooLarge(request) if len(data) > most else request

    async def answer(request: Message | Exception, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        try:
            if isinstance(request, MessageTooLarge) and request.message is not None and is_from_json(context):
                request = request.message
            if isinstance(request, Exception):
                raise request
            with places:
                return await behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - as above
            await abort(context, error, method.input_type)

    async def answer_all(
        requests: AsyncIterator[Message | Exception], context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[Any]:
        try:
            with places:
                async for each in behaviour(requests, context):
                    yield each
        except Exception as error:  # noqa: BLE001 - as above
            await abort(context, error, method.input_type)

    kind = grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
    behave: Any = answer_all if method.client_streaming else answer
    serialize = GetMessageClass(method.output_type).SerializeToString
    return kind(behave, request_deserializer=parse, response_serializer=serialize)
