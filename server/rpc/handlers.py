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
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from server.ingest.batch import MAX_EVENTS, at_most_events
from server.ingest.create import KEY, Creates, parsed
from server.rpc.errors import MalformedMessage, MessageTooLarge, abort, is_from_json
from server.rpc.limits import MAX_CALL_BYTES, MAX_CALLS, MAX_STREAMS, Places

MAX_BYTES = 1 << 20
"""The limit of CONTRACT.md for the request of one event or of a search."""

MAX_BATCH_BYTES = 8 << 20
"""Its limit for a batch."""

MAX_MESSAGE_BYTES = 6 * MAX_BATCH_BYTES
"""The largest message that is looked at. Envoy holds JSON to the limits above; as a message it may grow, by a factor of
5.5 if it is all `version_info` of lists of zeros."""

log = logging.getLogger(__name__)


def add_services(server: grpc.aio.Server, servicers: Mapping[ServiceDescriptor, object]) -> None:
    """Has `server` answer the RPCs of each service by its servicer, within the bounds of `server.rpc.limits`."""
    calls, streams = Places(MAX_CALLS, MAX_CALL_BYTES), Places(MAX_STREAMS, 0)
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
        if method.client_streaming:
            handlers[path] = _stream_handler(method, behaviour, streams)
            continue
        takes_bytes = isinstance(behaviour, Creates)
        handlers[path] = _unary_handler(method, behaviour, calls, takes_bytes=takes_bytes)
        if takes_bytes:
            keyed[path] = _unary_handler(method, behaviour.with_key, calls, takes_bytes=True)
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
    if not log.isEnabledFor(logging.DEBUG):
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


def _unary_handler(
    method: MethodDescriptor, behaviour: Callable[[Any, Any], Any], places: Places, *, takes_bytes: bool
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Looks at the size of a request before anything is made of it: a message takes many times its bytes."""
    behaviour = _logged(method, behaviour)
    most = _most(method)
    parse = _parser(method)

    async def answer(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
        size = len(data)
        try:
            if size > most and not is_from_json(context):
                raise MessageTooLarge
            places.take(size)
            try:
                return await behaviour(data if takes_bytes else parse(data), context)
            finally:
                places.give(size)
        except Exception as error:  # noqa: BLE001 - the border of the program: none may pass it as it is
            await abort(context, error, method.input_type)

    behave: Any = answer
    serialize = None if takes_bytes else GetMessageClass(method.output_type).SerializeToString
    return grpc.unary_unary_rpc_method_handler(behave, response_serializer=serialize)


def _stream_handler(
    method: MethodDescriptor, behaviour: Callable[[Any, Any], Any], places: Places
) -> "grpc.RpcMethodHandler[Any, Any]":
    most = _most(method)
    parse = _parser(method)

    # What cannot be parsed is passed on as the exception that it is, since the library would have its own word for it.
    def parse_or_not(data: bytes) -> Message | Exception:
        try:
            return MessageTooLarge() if len(data) > most else parse(data)
        except MalformedMessage as error:
            return error

    async def answer_all(
        requests: AsyncIterator[Message | Exception], context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[Any]:
        try:
            places.take(0)
            try:
                async for each in behaviour(requests, context):
                    yield each
            finally:
                places.give(0)
        except Exception as error:  # noqa: BLE001 - as above
            await abort(context, error, method.input_type)

    behave: Any = answer_all
    serialize = GetMessageClass(method.output_type).SerializeToString
    return grpc.stream_stream_rpc_method_handler(
        behave, request_deserializer=parse_or_not, response_serializer=serialize
    )


def _takes_many(method: MethodDescriptor) -> bool:
    return "events" in method.input_type.fields_by_name


def _most(method: MethodDescriptor) -> int:
    """How many bytes a request may have."""
    return MAX_BATCH_BYTES if _takes_many(method) else MAX_BYTES


def _parser(method: MethodDescriptor) -> Callable[[bytes], Message]:
    kind = GetMessageClass(method.input_type)
    if _takes_many(method):
        # One event too many is enough to say that there are too many.
        return lambda data: parsed(kind, at_most_events(data, MAX_EVENTS + 1))
    return lambda data: parsed(kind, data)
