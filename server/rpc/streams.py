"""RPCs whose response is a stream, typed: how its parts are sent, and for how long."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol

import grpc
import grpc.aio
from google.protobuf.descriptor import MethodDescriptor

from server.access.caller import get_caller, renew_caller
from server.ingest.notes import GRPC
from server.messages.customer import find_customer
from server.messages.refusals import MessageTooLarge
from server.rpc.call_log import CallLog
from server.rpc.call_meter import CallMeter, measure
from server.rpc.errors import abort
from server.sharing.open_streams import OpenStreams

_MAX_REQUEST_BYTES = 1 << 20

Parts = AsyncGenerator[bytes, None]
"""The parts of a stream, each of them a response.

The credentials of the caller are verified before each is sent. So the next one comes within 30 s.
"""


class TypedStream(Protocol):
    """What answers one RPC with a stream."""

    streams: OpenStreams
    """Of which each call is one."""

    def __call__(self, data: bytes) -> Parts:
        """Return the parts of the answer to a request. What is wrong with that is raised by the first of them."""


async def send(parts: Parts, write: Callable[[bytes], Awaitable[None]], streams: OpenStreams, customer: str) -> None:
    """Send each part once the caller has room for it, as long as the caller's credentials are valid.

    Raises:
        NoPlace, ServerStopping: as `OpenStreams.enter` does.
        Unauthenticated, DatabaseUnavailable, TooManyLookups: as `renew_caller` does.
        grpc.aio.InternalError: the caller has gone.
        Exception: what `parts` raises.
    """
    async with streams.enter(customer), contextlib.aclosing(parts):
        async for part in parts:
            await renew_caller()
            await write(part)
            # It does not wait while the caller has room, and what makes the next part must not hold up other calls.
            await asyncio.sleep(0)


def make_stream_handler(
    rpc: MethodDescriptor, method: TypedStream, call_log: CallLog
) -> "grpc.RpcMethodHandler[Any, Any]":
    """Return the handler of a typed RPC."""

    async def answer(data: bytes, context: Any) -> None:
        if len(data) > _MAX_REQUEST_BYTES:
            raise MessageTooLarge
        await renew_caller()
        caller = get_caller()
        customer = caller.share or caller.find_share(find_customer(data))
        await send(method(data), context.write, method.streams, customer)

    answer_measured = measure(CallMeter(rpc, GRPC, call_log), answer)

    async def handle(data: bytes, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        try:
            await answer_measured(data, context)
        except grpc.aio.InternalError:
            pass  # The caller has gone.
        except Exception as error:  # noqa: BLE001 - every failure becomes a status here
            await abort(context, error, rpc.input_type)

    behaviour: Any = handle
    return grpc.unary_stream_rpc_method_handler(behaviour)
