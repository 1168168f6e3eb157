"""A call as its handler sees it, and the running of the handler."""

import asyncio
import contextvars
import ipaddress
import time
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from typing import Any, NoReturn

import grpc
import grpc.aio

from server.transport.call import Call, CallGone
from server.transport.calls import Calls
from server.transport.core import NO_FLAGS, SendInitialMetadata, SendMessage
from server.transport.interface import Metadata
from server.transport.requests import Requests, UnreadableRequest, parse

# If a caller has set no deadline, C-core has one that is later than this, in seconds since the epoch.
_NEVER = 1e11

# Set by Envoy to the address of its caller, on calls whose messages it passes on as they arrive.
_ADDRESS_METADATA = "x-caller-address"

_OK = grpc.StatusCode.OK


class CallContext(Call):
    """A call with what its handler may ask of it: see `server.transport.interface.Context`."""

    __slots__ = ("_code", "_deadline", "_details", "_metadata", "_outgoing", "_turn")

    def __init__(self, calls: Calls, event: Any, method: str, handler: Any, variables: contextvars.Context) -> None:
        """Take on the call of a request event. For the rest see `Call`."""
        super().__init__(calls, event.call, method, handler, variables)
        self._metadata: Metadata = event.invocation_metadata
        deadline: float = event.call_details.deadline
        # By the clock that nobody sets.
        self._deadline = None if deadline > _NEVER else deadline - time.time() + time.monotonic()
        self._code = _OK
        self._details = ""
        self._outgoing: asyncio.Future[bool] | None = None
        self._turn: asyncio.Lock | None = None

    def invocation_metadata(self) -> Metadata:
        """Return the metadata that the caller sent."""
        return self._metadata

    def peer(self) -> str:
        """Return where the caller is: it begins with `unix:` only if the call came on a Unix socket."""
        peer: str = self._core_call.peer().decode()
        return peer

    def get_address(self) -> str:
        """Return the address that the call has come from: through a proxy, that of the proxy's caller.

        It is "" if the proxy has kept the message until it was whole. Of an IPv6 address it is the network, because a
        caller has all of its addresses.
        """
        peer = self.peer()
        if not peer.startswith("unix:"):
            return _find_network(peer.partition(":")[2].rpartition(":")[0])
        return next((_find_network(str(value)) for key, value in self._metadata if key == _ADDRESS_METADATA), "")

    def time_remaining(self) -> float | None:
        """Return the seconds until the caller's deadline, or None if it has set none."""
        return None if self._deadline is None else max(self._deadline - time.monotonic(), 0.0)

    async def send_initial_metadata(self, initial_metadata: Metadata) -> None:
        """Send metadata ahead of the response."""
        if self._initial_metadata_sent:
            raise grpc.aio.UsageError("the initial metadata are sent already")
        await self._send((), initial_metadata)

    async def write(self, message: Any) -> None:
        """Send one response of a stream, and wait until flow control has let it pass."""
        answering = self.calls.answering
        answering.start(self)
        try:
            await self._send((SendMessage(self._serialize(message), NO_FLAGS),))
        finally:
            if not self._ended:
                answering.end(self)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """End the call with a status. Raise AbortError."""
        if code is _OK:
            raise grpc.aio.UsageError("abort() is for failures")
        self.finish(code, details, trailing_metadata)
        raise grpc.aio.AbortError("aborted by its handler")

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the code with which the call ends when its handler returns or raises."""
        self._code = code

    def set_details(self, details: str) -> None:
        """Set the message that goes with the code."""
        self._details = details

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have `callback` called with this context once the call has ended."""
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    async def _send(self, operations: tuple[Any, ...], initial_metadata: Metadata = ()) -> None:
        """Send something after what is on its way, and wait until it has passed flow control."""
        if self._turn is None:
            self._turn = asyncio.Lock()
        # C-core sends one message at a time.
        async with self._turn:
            if self._outgoing is not None:  # Whoever sent it was cancelled.
                await asyncio.shield(self._outgoing)
            if self._ended:
                raise CallGone
            if not self._initial_metadata_sent:
                operations = (SendInitialMetadata(tuple(initial_metadata), NO_FLAGS), *operations)
            outgoing: asyncio.Future[bool] = self.calls.loop.create_future()
            # The future does not keep the event, because the event refers to the future: see `Requests`.
            self.start_batch(operations, lambda event: outgoing.set_result(event.success))
            self._initial_metadata_sent = True
            self._outgoing = outgoing
            success = await asyncio.shield(outgoing)
            self._outgoing = None
        if not success:
            raise CallGone

    async def _answer(self, message: bytes | None) -> None:
        self._running = True
        handler = self._handler
        try:
            if handler.request_streaming:
                request: Any = Requests(self, handler.request_deserializer)
            else:
                request = parse(handler.request_deserializer, message or b"")
            if handler.response_streaming:
                method = handler.stream_stream if handler.request_streaming else handler.unary_stream
                await self._stream(method(request, self))
                self.finish(self._code, self._details)
                return
            method = handler.stream_unary if handler.request_streaming else handler.unary_unary
            response = await method(request, self)
            self.finish(self._code, self._details, (), self._serialize(response) if self._code is _OK else None)
        except asyncio.CancelledError:
            # Unless the handler itself raised it, the caller has gone or the call has its status.
            self.finish(grpc.StatusCode.CANCELLED, "the server cancelled the call")
        except (grpc.aio.AbortError, CallGone):
            self.finish(grpc.StatusCode.UNKNOWN)  # It has its status, or its caller has gone.
        except UnreadableRequest:
            self.finish(grpc.StatusCode.INTERNAL, "the request is not a message of the expected type")
        except Exception as error:  # noqa: BLE001 - every failure becomes a status here
            self._fail(error)
        finally:
            self._return()

    async def _stream(self, responses: Any) -> None:
        """Send the responses that a handler yields, or wait for one that writes them itself."""
        if not isinstance(responses, AsyncIterator):
            await responses
            return
        try:
            async for response in responses:
                await self.write(response)
        finally:
            if hasattr(responses, "aclose"):
                await responses.aclose()

    def _serialize(self, response: Any) -> bytes:
        serialize = self._handler.response_serializer
        data = serialize(response) if serialize is not None else response
        if type(data) is not bytes:
            raise TypeError(f"a handler's response is {type(data).__name__}, not bytes")
        return data

    def _fail(self, error: Exception) -> None:
        """End the call for an exception of its handler, with the code that the handler has set if there is one."""
        if self._code is _OK:
            self._log(error)
            self.finish(grpc.StatusCode.UNKNOWN, "unexpected error")
        else:
            self.finish(self._code, self._details)


@lru_cache(maxsize=1_000)
def _find_network(address: str) -> str:
    """Return an IPv4 address as it is, and of an IPv6 address its first 64 bits."""
    address = address.strip("[]")
    try:
        return str(ipaddress.ip_network((address, 64), strict=False)) if ":" in address else address
    except ValueError:
        return address
