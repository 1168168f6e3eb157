"""The calls in flight of one server, and the bounds that hold for all of them."""

import asyncio
from itertools import islice
from typing import NamedTuple, Protocol

import grpc

from server.metrics.catalog import TRANSPORT_REFUSED
from server.transport.gate import Gate
from server.transport.time_limit import TimeLimit

_LATE = b"the request did not arrive in time"
_SLOW = b"the request arrived too slowly while others waited: send it again"
_UNREAD = b"the response was not read while others waited"

# How many calls are looked at to find one whose caller does not take its response.
_LOOK_AT = 100


class Bounds(NamedTuple):
    """The limits on what the callers of one server may hold. The stock transport has none of them."""

    calls: int = 2_000
    """Calls in flight of any kind, counted before their messages are received. Each takes about 10 KiB, and up to the
    limit on metadata. High enough that the handlers' own limits are reached first."""
    messages: int = 64
    """Messages of unary requests that may be arriving at once: as many as a busy server has callers. With 16, it served
    a seventh fewer. One address may have half of them."""
    large_messages: int = 16
    """How many of these may be from addresses whose last message was not known to be small. With messages of 8 MiB they
    take 128 MiB."""
    slow_messages: int = 16
    """How many of these may be arriving for longer than about 0.5 s. With messages of 8 MiB they take 128 MiB."""
    message_seconds: float = 60.0
    """How long a unary request may take to arrive. What Envoy allows a request, and enough for 8 MiB at 1.2 Mbit/s."""
    answer_seconds: float = 120.0
    """How long a caller may then take to receive all of the response: enough for a page of 17 MiB at 1.2 Mbit/s. For a
    stream, how long it may take to receive each response, and the status."""
    response_bytes: int = 192 << 20
    """The bytes of responses that callers have not received. Beyond it, the calls that have waited longest are cut off.
    It is more than the handlers allow for large pages."""
    farewell_seconds: float = 1.0
    """How long a caller may take to read the status of a call that was out of time."""


class OpenCall(Protocol):
    """What the bounds ask of a call."""

    @property
    def has_status(self) -> bool:
        """Whether its status is sent, and its caller has not taken it in."""

    def get_address(self) -> str:
        """Return the address that it has come from."""

    def receive(self) -> None:
        """Ask C-core for the message of a unary request."""

    def cut_off(self, code: grpc.StatusCode, details: bytes) -> None:
        """End it at once, whatever its caller does."""

    def expire(self) -> None:
        """End it with a status that says that its time is over."""

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End it with a status, unless it has one, and cancel its handler."""

    def abandon(self) -> None:
        """Start nothing more."""


class Calls:
    """The calls in flight. Belongs to one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bounds: Bounds) -> None:
        """Create it, with no call."""
        self.loop = loop
        self._open: set[OpenCall] = set()
        self._idle: asyncio.Future[None] | None = None
        self._max_response_bytes = bounds.response_bytes
        self._response_bytes = 0
        self.gate: Gate[OpenCall] = Gate(
            loop,
            places=bounds.messages,
            large_places=bounds.large_messages,
            slow_places=bounds.slow_messages,
            get_address=lambda call: call.get_address(),
            on_enter=lambda call: call.receive(),
            on_slow=_cut_slow,
        )
        self.arriving: TimeLimit[OpenCall] = TimeLimit(loop, bounds.message_seconds, _cut_late)
        self.answering: TimeLimit[OpenCall] = TimeLimit(loop, bounds.answer_seconds, _expire)
        self.departing: TimeLimit[OpenCall] = TimeLimit(
            loop, bounds.farewell_seconds, lambda call: call.cut_off(grpc.StatusCode.DEADLINE_EXCEEDED, _LATE)
        )

    def __len__(self) -> int:
        return len(self._open)

    def add(self, call: OpenCall) -> None:
        """Count a call."""
        self._open.add(call)

    def remove(self, call: OpenCall) -> None:
        """Count a call no longer, under whichever bound it is."""
        self._open.discard(call)
        self.gate.leave(call)
        self.arriving.end(call)
        self.answering.end(call)
        self.departing.end(call)
        if self._idle is not None and not self._open and not self._idle.done():
            self._idle.set_result(None)

    def hold(self, response_bytes: int) -> None:
        """Count a response that is handed to C-core."""
        self._response_bytes += response_bytes
        while self._response_bytes > self._max_response_bytes and self._cut_unread():
            pass

    def let_go(self, response_bytes: int) -> None:
        """Count a response no longer."""
        self._response_bytes -= response_bytes

    def make_room(self) -> bool:
        """Cut off the call that has waited longest for its caller. Return whether there is one."""
        waiting = self.gate.drop()
        if waiting is None:
            return self._cut_unread()
        _cut_slow(waiting)
        return True

    def _cut_unread(self) -> bool:
        for call in islice(self.answering, _LOOK_AT):
            if call.has_status:
                self.answering.end(call)
                TRANSPORT_REFUSED.add("unread_response")
                call.cut_off(grpc.StatusCode.RESOURCE_EXHAUSTED, _UNREAD)
                return True
        return False

    def end_all(self, code: grpc.StatusCode, details: str) -> None:
        """End all calls with this status."""
        for call in list(self._open):
            call.end(code, details)

    async def wait_until_none(self, seconds: float) -> bool:
        """Return whether there is no call left, now or within that many seconds."""
        if self._open and seconds:
            self._idle = self.loop.create_future()
            await asyncio.wait([self._idle], timeout=seconds)
        return not self._open

    def close(self) -> None:
        """Stop the timers, and let no call that is left start anything."""
        for call in self._open:
            call.abandon()
        for part in (self.gate, self.arriving, self.answering, self.departing):
            part.close()


def _cut_slow(call: OpenCall) -> None:
    TRANSPORT_REFUSED.add("slow_request")
    call.cut_off(grpc.StatusCode.RESOURCE_EXHAUSTED, _SLOW)


def _cut_late(call: OpenCall) -> None:
    TRANSPORT_REFUSED.add("late_request")
    call.cut_off(grpc.StatusCode.DEADLINE_EXCEEDED, _LATE)


def _expire(call: OpenCall) -> None:
    TRANSPORT_REFUSED.add("unread_response" if call.has_status else "out_of_time")
    call.expire()
