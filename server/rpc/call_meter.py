"""How often each RPC is called, how long that takes, and what becomes of it: in metrics, and in the log."""

from collections.abc import Callable
from typing import Any

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.rpc.code_pb2 import Code

from server.ingest.notes import GRPC, JSON
from server.messages.statuses import get_code, is_bug, list_causes
from server.metrics.catalog import CALLS, CALLS_FAILED
from server.metrics.names import name_type
from server.rpc.call_log import CallLog, now
from server.tracing.interface import call_span

_BUG = "bug"


def name_cause(error: Exception) -> str:
    """Return what the label `cause` says of an error: the name of its type, as in database_unavailable."""
    return _BUG if is_bug(error) else name_type(type(error))


def name_rpc(rpc: MethodDescriptor) -> str:
    """Return what metrics and the log call an RPC."""
    return f"{rpc.containing_service.full_name}/{rpc.name}"


def begin_counts() -> None:
    """Begin to count failures at 0, so that the first of them is seen to be an increase."""
    for door in (JSON, GRPC):
        for cause in [_BUG, *map(name_type, list_causes())]:
            CALLS_FAILED.begin(door, cause)


def measure(meter: "CallMeter", method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `method`, which takes a request, the context of its call and maybe more, so that its calls are counted."""

    async def call(data: bytes, context: Any, *more: Any) -> Any:
        start = now()
        try:
            result = await method(data, context, *more)
        except BaseException as error:
            meter.fail(start, context, error)
            raise
        meter.succeed(start, context)
        return result

    return call


class CallMeter:
    """Counts and times the calls of one RPC at one door, and has them logged."""

    def __init__(self, rpc: MethodDescriptor, door: str, log: CallLog) -> None:
        """Begin to count calls.

        Args:
            rpc: the typed RPC, by either door.
            door: `JSON` or `GRPC`.
            log: what logs them.
        """
        self._name = name_rpc(rpc)
        self._door = door
        self._log = log
        self._succeeded = CALLS.find(self._name, "OK", door)

    def succeed(self, start: float, context: Any) -> None:
        """Count a call that succeeded.

        Args:
            start: when it began, as `now` says it.
            context: its context.
        """
        self._succeeded.observe(now() - start)
        if self._log.share:
            self._log.tell_success(self._name, self._door, start, context.invocation_metadata() or ())

    def fail(self, start: float, context: Any, error: BaseException) -> None:
        """Count a call that failed. One whose caller has gone is cancelled."""
        metadata = context.invocation_metadata() or ()
        code = "CANCELLED"
        if isinstance(error, Exception) and not isinstance(error, grpc.aio.InternalError):
            code, cause = Code.Name(get_code(error)), name_cause(error)
            CALLS_FAILED.add(self._door, cause)
            if (span := call_span.get()) is not None:
                span.fail(code, cause)
            self._log.tell_failure(self._name, self._door, start, metadata, error, cause)
        else:
            if (span := call_span.get()) is not None:
                span.fail(code, "cancelled")
            self._log.tell_gone(self._name, self._door, start, metadata)
        CALLS.find(self._name, code, self._door).observe(now() - start)
