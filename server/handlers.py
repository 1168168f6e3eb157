"""Servicers to RPC handlers: as the generated `add_…_to_server` does it, but every failure has its status.

The generated code leaves two things to the library: a request that does not parse, which it calls INTERNAL, and an
exception in a servicer, whose text it sends to the caller. An interceptor would cost every RPC more than this.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from server.errors import MalformedMessage, abort


def add_service(server: grpc.aio.Server, service: ServiceDescriptor, servicer: object) -> None:
    """Has `server` answer the unary RPCs of `service` by the methods of `servicer` that bear their names."""
    handlers = {method.name: _handler(method, getattr(servicer, method.name)) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def _handler(
    method: MethodDescriptor, behaviour: Callable[[Any, Any], Awaitable[Message]]
) -> "grpc.RpcMethodHandler[Any, Any]":
    request_class = GetMessageClass(method.input_type)

    def parse(data: bytes) -> Message | None:
        try:
            return request_class.FromString(data)
        except DecodeError:
            return None

    async def answer(request: Message | None, context: "grpc.aio.ServicerContext[Any, Any]") -> Message:
        try:
            if request is None:
                raise MalformedMessage
            return await behaviour(request, context)
        except Exception as error:  # noqa: BLE001 - the border of the program: none may pass it as it is
            await abort(context, error, method.input_type)

    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=parse,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )
