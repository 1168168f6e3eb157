"""A gRPC server on C-core without `grpc.aio`: it accepts calls, finds their handlers, and stops in order."""

import asyncio
import contextvars
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, NamedTuple

import grpc

from server.metrics.catalog import TRANSPORT_REFUSED
from server.transport.calls import Bounds, Calls
from server.transport.context import CallContext
from server.transport.core import (
    NO_FLAGS,
    CompletionQueue,
    ReceiveClose,
    SendInitialMetadata,
    SendMessage,
    SendStatus,
    unwrap,
)
from server.transport.core import Server as ServerInCore
from server.transport.interface import FAILED, Admit, Metadata, Refusal, Verdict
from server.transport.options import Options
from server.transport.reader import QueueReader

log = logging.getLogger(__name__)

# How many calls C-core may hand over before it is asked for more. It made no difference from 1 to 64.
_REQUESTED_CALLS = 16

# How long handlers may take to end once they are cancelled, at a stop.
_CANCEL_SECONDS = 0.5

# How long a client may take to answer the GOAWAY of a stop.
_GOAWAY_SECONDS = 0.3

_TOO_MANY = "too_many_calls"
"""What metrics call this cause of a refusal."""

_STOPPING = Refusal(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
_NO_SUCH_METHOD = Refusal(grpc.StatusCode.UNIMPLEMENTED, "no such method")


class _CallDetails(NamedTuple):
    """What a `grpc.GenericRpcHandler` is asked with."""

    method: str
    invocation_metadata: Metadata


class CoreServer:
    """A server on C-core: see `server.transport.interface.Server`."""

    def __init__(
        self,
        options: Options,
        bounds: Bounds,
        *,
        unbounded_services: Sequence[str] = (),
        refusal_metadata: Metadata = (),
        admit: Admit | None = None,
    ) -> None:
        """Create a server that is bound to nothing yet, for the running event loop.

        Args:
            options: C-core's channel arguments.
            bounds: what callers may hold.
            unbounded_services: the services whose calls are accepted even when there are too many.
            refusal_metadata: the trailing metadata of those that are not.
            admit: decides whether a call for which there is a handler is admitted. If None, all are.
        """
        self._queue = CompletionQueue()
        self._server = ServerInCore(options, False)
        self._server.register_completion_queue(self._queue)
        self._reader = QueueReader(self._queue, self._on_lost)
        self._calls = Calls(asyncio.get_running_loop(), bounds)
        self._max_calls = bounds.calls
        self._unbounded = tuple(f"/{service}/" for service in unbounded_services)
        self._too_many = Refusal(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests are in flight", refusal_metadata
        )
        self._admit = admit
        self._deciding: set[asyncio.Task[None]] = set()
        """The calls of which it is not known yet whether they are admitted."""
        self._handlers: list[Any] = []
        self._refused = 0
        self._started = False
        self._stopping = False

    @property
    def calls_in_flight(self) -> int:
        """How many calls have not ended, those that are being refused included."""
        return len(self._calls) + len(self._deciding) + self._refused

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Add handlers, which are asked in this order for each call. Their methods must be async."""
        self._handlers += generic_rpc_handlers

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        """Do nothing: the generated `add_…_to_server` calls this for what it adds as a generic handler, too."""

    def add_insecure_port(self, address: str) -> int:
        """Bind an address of the form host:port or unix:path, and return the port, or 1 for a path.

        Raises:
            RuntimeError: it cannot be bound.
        """
        return self._bind(address, None)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Bind an address of the form host:port on which TLS is used, and return the port.

        Raises:
            RuntimeError: it cannot be bound.
        """
        return self._bind(address, unwrap(server_credentials))

    def _bind(self, address: str, credentials: Any) -> int:
        port: int = self._server.add_http2_port(address.encode(), credentials)
        if not port:
            raise RuntimeError(f"{address} cannot be bound")
        return port

    async def start(self) -> None:
        """Begin to accept calls."""
        self._server.start(backup_queue=False)
        self._reader.start()
        self._started = True
        for _ in range(_REQUESTED_CALLS):
            self._request_call()

    async def stop(self, grace: float | None) -> None:
        """Accept no new calls, let those in flight finish for `grace` seconds, and cut off the rest."""
        if self._stopping:
            return
        self._stopping = True
        if not self._started:
            # C-core can only close what it has bound if it was started.
            self._server.start(backup_queue=False)
            self._reader.start()
        for task in self._deciding:
            task.cancel()
        shut_down = asyncio.get_running_loop().create_future()
        self._server.shutdown(self._queue, shut_down.set_result)
        if not await self._calls.wait_until_none(grace or 0.0):
            self._calls.end_all(grpc.StatusCode.UNAVAILABLE, "the server is stopping")
            await self._calls.wait_until_none(_CANCEL_SECONDS)
        # Connections close by themselves once their clients have answered the GOAWAY. Some do not.
        await asyncio.wait([shut_down], timeout=_GOAWAY_SECONDS)
        self._server.cancel_all_calls()
        await shut_down
        if not await self._calls.wait_until_none(_CANCEL_SECONDS):
            log.error("handlers go on although their calls were cancelled", extra={"calls": len(self._calls)})
        self._calls.close()
        await self._reader.close()
        self._server.destroy()

    def _request_call(self) -> None:
        self._server.request_call(self._queue, self._queue, self._accept)

    def _on_lost(self) -> None:
        """Ask for one more call, because the event that was lost may have been one that was asked for.

        If it belonged to a call in flight, the time limits end that.
        """
        if not self._stopping:
            self._request_call()

    def _accept(self, event: Any) -> None:
        """Accept the call that C-core hands over."""
        if not event.success:  # The server is stopping.
            return
        if self._stopping:
            self._refuse(event.call, _STOPPING)
            return
        self._request_call()
        try:
            method = event.call_details.method.decode()
        except UnicodeDecodeError:
            self._refuse(event.call, _NO_SUCH_METHOD)
            return
        if len(self._calls) >= self._max_calls and not self._find_room(method):
            TRANSPORT_REFUSED.add(_TOO_MANY)
            self._refuse(event.call, self._too_many)
            return
        # A new context, because the current one may be another call's. The look-up may set variables for the handler.
        variables = contextvars.Context()
        try:
            handler, verdict = variables.run(self._look_up, _CallDetails(method, event.invocation_metadata))
        except Exception:
            log.exception("unexpected error", extra={"method": method})
            self._refuse(event.call, FAILED)
            return
        if verdict is None:
            CallContext(self._calls, event, method, handler, variables).begin()
        elif isinstance(verdict, Refusal):
            self._refuse(event.call, verdict)
        elif len(self._deciding) >= self._max_calls:
            verdict.close()
            TRANSPORT_REFUSED.add(_TOO_MANY)
            self._refuse(event.call, self._too_many)
        else:
            deciding = self._decide(event, method, handler, verdict, variables)
            task = asyncio.get_running_loop().create_task(deciding, context=variables)
            self._deciding.add(task)
            task.add_done_callback(self._deciding.discard)
            task.add_done_callback(lambda _: verdict.close())  # If it was cancelled before it began.

    async def _decide(
        self,
        event: Any,
        method: str,
        handler: Any,
        verdict: Coroutine[Any, Any, Verdict],
        variables: contextvars.Context,
    ) -> None:
        """Accept the call, or refuse it, once it is known which."""
        try:
            refusal = await verdict
        except asyncio.CancelledError:
            refusal = _STOPPING
        except Exception:
            log.exception("unexpected error", extra={"method": method})
            refusal = FAILED
        if self._stopping:
            refusal = _STOPPING
        if refusal is None:
            CallContext(self._calls, event, method, handler, variables).begin()
        else:
            self._refuse(event.call, refusal)

    def _find_room(self, method: str) -> bool:
        """Return whether there is room for one more call although there are as many as there may be."""
        if len(self._calls) >= 2 * self._max_calls:
            return False
        return method.startswith(self._unbounded) or self._calls.make_room()

    def _look_up(self, details: _CallDetails) -> tuple[Any, Verdict | Coroutine[Any, Any, Verdict]]:
        """Return the handler of a call, and whether it is refused."""
        for each in self._handlers:
            if (handler := each.service(details)) is not None:
                return handler, None if self._admit is None else self._admit(*details)
        TRANSPORT_REFUSED.add("no_such_method")
        return None, _NO_SUCH_METHOD

    def _refuse(self, call: Any, refusal: Refusal) -> None:
        """End a call. None of its message is received."""
        if self._refused >= self._max_calls:
            return  # The callers do not read the status. C-core cancels a call that nothing refers to.
        operations = (
            ReceiveClose(NO_FLAGS),
            SendInitialMetadata(tuple(refusal.initial_metadata), NO_FLAGS),
            *(() if refusal.message is None else (SendMessage(refusal.message, NO_FLAGS),)),
            SendStatus(tuple(refusal.trailing_metadata), refusal.code.value[0], refusal.details, NO_FLAGS),
        )
        call.start_server_batch(operations, self._on_refused)
        self._refused += 1

    def _on_refused(self, _: Any) -> None:
        self._refused -= 1
