"""Server reflection for both transports, under both of its names.

grpcio-reflection has only v1alpha. Newer clients ask for v1, whose messages are the same, and fall back to v1alpha if
they are told UNIMPLEMENTED.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection import aio
from grpc_reflection.v1alpha.reflection_pb2 import DESCRIPTOR, ServerReflectionRequest, ServerReflectionResponse

from server.sharing.places import NoPlace, Place, Places, SilentStream
from server.transport.interface import Context, Server

T = TypeVar("T")

_SERVICE = "grpc.reflection.{}.ServerReflection"
SERVICE_NAMES = (_SERVICE.format("v1"), _SERVICE.format("v1alpha"))

# Each may have a message of the largest size on its way in.
_MAX_STREAMS = 8
_IDLE_SECONDS = 60.0


def add_reflection(server: Server, services: Iterable[str]) -> None:
    """Let clients ask for the descriptors of `services`, given by their full names, and of reflection itself."""
    _describe_v1()
    servicer = _LimitedReflection([*services, *SERVICE_NAMES])
    behaviour: Any = servicer.ServerReflectionInfo
    handler = grpc.stream_stream_rpc_method_handler(
        behaviour,
        request_deserializer=ServerReflectionRequest.FromString,
        response_serializer=ServerReflectionResponse.SerializeToString,
    )
    for name in SERVICE_NAMES:
        generic = grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
        server.add_generic_rpc_handlers((generic,))


class _LimitedReflection(aio.ReflectionServicer):  # type: ignore[misc]  # untyped in its library
    """Reflection for a limited number of clients at once."""

    def __init__(self, services: Iterable[str]) -> None:
        super().__init__(services)
        self._places = Places(_MAX_STREAMS, _IDLE_SECONDS)

    async def ServerReflectionInfo(
        self, request_iterator: AsyncIterator[ServerReflectionRequest], context: Context
    ) -> AsyncIterator[ServerReflectionResponse]:
        """Answer the questions of one client."""
        try:
            with self._places.enter() as place:
                async for response in super().ServerReflectionInfo(_read(place, request_iterator), context):
                    yield response
        except NoPlace:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many clients use reflection")
        except SilentStream:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "nothing has been asked for too long")


async def _read(place: Place, requests: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yield the requests of a stream, as long as it has its place."""
    with contextlib.suppress(StopAsyncIteration):
        while True:
            request = await place.read(requests)
            yield request


def _describe_v1() -> None:
    """Add the descriptors of v1 to the default pool: a client that lists a service asks for its descriptor next."""
    pool = descriptor_pool.Default()
    try:
        pool.FindServiceByName(SERVICE_NAMES[0])
    except KeyError:
        v1alpha = text_format.MessageToString(FileDescriptorProto.FromString(DESCRIPTOR.serialized_pb))
        pool.Add(text_format.Parse(v1alpha.replace("v1alpha", "v1"), FileDescriptorProto()))
