"""One RPC on C-core, from its acceptance to its end."""

import asyncio
import contextvars
import logging
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from server.transport.calls import Calls
from server.transport.core import (
    ACCEPTED,
    NO_FLAGS,
    ReceiveClose,
    ReceiveMessage,
    SendInitialMetadata,
    SendMessage,
    SendStatus,
)
from server.transport.interface import Metadata

log = logging.getLogger(__name__)

_OUT_OF_TIME = "the server has no more time for this call"


class CallGone(grpc.aio.InternalError):
    """The caller has gone, or the call has its status already: nothing more can be sent."""


class Call:
    """A call in flight: until both its sides are closed and its handler has returned."""

    __slots__ = (
        "_callbacks",
        "_closed",
        "_core_call",
        "_ended",
        "_handler",
        "_initial_metadata_sent",
        "_method",
        "_response_bytes",
        "_running",
        "_task",
        "_variables",
        "calls",
    )

    def __init__(self, calls: Calls, core_call: Any, method: str, handler: Any, variables: contextvars.Context) -> None:
        """Begin to track a call.

        Args:
            calls: the calls in flight.
            core_call: C-core's own call.
            method: the path.
            handler: a `grpc.RpcMethodHandler`.
            variables: the context variables that its handler sees, which no other call shares.
        """
        self.calls = calls
        self._core_call = core_call
        self._method = method
        self._handler = handler
        self._variables = variables
        self._task: asyncio.Task[None] | None = None
        self._response_bytes = 0
        self._running = False
        """Whether the task has taken its first step."""
        self._callbacks: list[Callable[[Any], None]] | None = None
        self._initial_metadata_sent = False
        self._ended = False
        """Whether the call has its status."""
        self._closed = False
        """Whether both sides are closed, or the caller has gone."""

    @property
    def has_status(self) -> bool:
        """Whether its status is sent, and its caller has not taken it in."""
        return self._ended

    def begin(self) -> None:
        """Run the handler, for a unary request once its message has come."""
        calls = self.calls
        self.start_batch((ReceiveClose(NO_FLAGS),), self._on_closed)
        calls.add(self)
        if self._handler.request_streaming:
            self._run(None)
        else:
            calls.arriving.start(self)
            calls.gate.enter(self)

    def receive(self) -> None:
        """Ask C-core for the message of a unary request."""
        self.start_batch((ReceiveMessage(NO_FLAGS),), self._on_message)

    def start_batch(self, operations: tuple[Any, ...], on_complete: Callable[[Any], None]) -> None:
        """Start operations and have `on_complete` called with their event.

        Raises:
            CallGone: the call is closed, or C-core does not accept them. There will be no event.
            Exception: one of their values cannot be encoded.
        """
        if self._closed:
            raise CallGone
        if (error := self._core_call.start_server_batch(operations, on_complete)) != ACCEPTED:
            raise CallGone(f"C-core refused a batch: {error}")

    def finish(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = (), message: bytes | None = None
    ) -> None:
        """Send the status, after a message if there is one, unless the call has a status or its caller has gone."""
        if self._ended or self._closed:
            return
        self._ended = True
        number = code.value[0]
        try:
            if message is None:
                operations: tuple[Any, ...] = (SendStatus(trailing_metadata, number, details, NO_FLAGS),)
            else:
                operations = (
                    SendMessage(message, NO_FLAGS),
                    SendStatus(trailing_metadata, number, details, NO_FLAGS),
                )
            if not self._initial_metadata_sent:
                operations = (SendInitialMetadata((), NO_FLAGS), *operations)
            self.start_batch(operations, _ignore)
        except Exception as error:  # noqa: BLE001 - what cannot be sent must not leave the caller without a status
            self._log(error)
            self._core_call.cancel(grpc.StatusCode.INTERNAL.value[0], b"the response cannot be sent")
            return
        self._initial_metadata_sent = True
        # For a unary call it has begun already.
        self.calls.answering.start(self)
        if message is not None:
            self._response_bytes = len(message)
            self.calls.hold(self._response_bytes)

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End the call with a status, unless it has one, and cancel its handler."""
        self.finish(code, details)
        self._cancel_task()

    def expire(self) -> None:
        """End the call because it has taken too long."""
        if self._ended:
            self.cut_off(grpc.StatusCode.DEADLINE_EXCEEDED, _OUT_OF_TIME.encode())
        else:
            self.end(grpc.StatusCode.DEADLINE_EXCEEDED, _OUT_OF_TIME)
            self.calls.departing.start(self)

    def cut_off(self, code: grpc.StatusCode, details: bytes) -> None:
        """End the call at once, also if its caller reads nothing."""
        self._ended = True
        self._core_call.cancel(code.value[0], details)
        self._let_go()

    def abandon(self) -> None:
        """Start nothing more, because the completion queue is about to be shut down."""
        self._ended = self._closed = True

    def _on_message(self, event: Any) -> None:
        calls = self.calls
        message = event.batch_operations[0].message()
        calls.gate.leave(self, None if message is None else len(message))
        calls.arriving.end(self)
        if self._ended or self._closed:
            return
        if message is None:
            # As the specification has it. If C-core itself has ended the call, for a message over the limit or one that
            # is malformed, or if the caller has gone, then this is not sent.
            self.finish(grpc.StatusCode.UNIMPLEMENTED, "the request has no message")
            return
        if not self._handler.response_streaming:
            calls.answering.start(self)
        self._run(message)

    def _on_closed(self, _: Any) -> None:
        self._closed = True
        if self._task is None:
            self._release()
        elif not self._ended:
            self._cancel_task()

    def _run(self, message: bytes | None) -> None:
        self._task = self.calls.loop.create_task(self._answer(message), context=self._variables)

    def _cancel_task(self) -> None:
        if self._task is not None:
            self._task.cancel()
            if not self._running:  # It never will, so nothing else ends the call.
                self._return()

    def get_address(self) -> str:
        """Return the address that it has come from."""
        raise NotImplementedError

    async def _answer(self, message: bytes | None) -> None:
        """Set `_running`, run the handler, end the call, and call `_return`, whatever happens."""
        raise NotImplementedError

    def _return(self) -> None:
        """Note that the handler has returned."""
        self._task = None
        if self._closed:
            self._release()

    def _release(self) -> None:
        self.calls.remove(self)
        self._let_go()
        for callback in self._callbacks or ():
            try:
                callback(self)
            except Exception as error:  # noqa: BLE001 - the other callbacks are still called
                self._log(error)
        self._callbacks = None

    def _let_go(self) -> None:
        if self._response_bytes:
            self.calls.let_go(self._response_bytes)
            self._response_bytes = 0

    def _log(self, error: Exception) -> None:
        log.error("unexpected error", exc_info=error, extra={"method": self._method})
        # It holds the handler's frame, and the request with it. If the frame holds the error in turn, only the garbage
        # collector would free them.
        error.__traceback__ = None


def _ignore(_: Any) -> None:
    """Ignore the event of a batch on which nothing depends."""
