"""What the other parts know of tracing. None of OpenTelemetry is needed for it."""

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Protocol


class CallSpan(Protocol):
    """The span of a call."""

    trace_id: str
    """In hexadecimal digits, as other programs show it."""

    def fail(self, code: str, cause: str) -> None:
        """Note that the call fails.

        Args:
            code: the name of its status.
            cause: what metrics call the cause.
        """


class CommitSpan(Protocol):
    """The span of a commit."""

    def end(self, failed: int, cause: str) -> None:
        """End it.

        Args:
            failed: how many of its events were not stored.
            cause: what metrics call the cause of the first of these, or "".
        """


class Tracer(Protocol):
    """What makes the spans of one server."""

    def wrap(self, handler: Any, rpc: str, door: str) -> Any:
        """Return a `grpc.RpcMethodHandler` that does what `handler` does, in a span.

        Args:
            handler: that of an RPC.
            rpc: what metrics call the RPC.
            door: by which it is called.
        """

    def begin_commit(self, lane: str, calls: Sequence[CallSpan], events: int) -> CommitSpan | None:
        """Begin the span of a commit, unless there are too many.

        Args:
            lane: what metrics call the write queue.
            calls: the spans of the calls whose events it has. There is at least one.
            events: how many events it has.
        """

    async def close(self) -> None:
        """Export what is left, but not for long."""


call_span: ContextVar[CallSpan | None] = ContextVar("call_span", default=None)
"""The span of the current call, if calls are traced."""
