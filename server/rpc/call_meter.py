"""How often each RPC is called, how long that takes, and what becomes of it."""

import time
from collections.abc import Callable
from typing import Any

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.rpc.code_pb2 import Code

from server.ingest.notes import GRPC, JSON
from server.messages.refusals import get_code, is_bug, list_causes
from server.metrics.catalog import CALLS, CALLS_FAILED
from server.metrics.names import name_type

_BUG = "bug"

now = time.perf_counter


def name_cause(error: Exception) -> str:
    """Return what the label `cause` says of an error: the name of its type, as in database_unavailable."""
    return _BUG if is_bug(error) else name_type(type(error))


def begin_counts() -> None:
    """Begin to count failures at 0, so that the first of them is seen to be an increase."""
    for door in (JSON, GRPC):
        for cause in [_BUG, *map(name_type, list_causes())]:
            CALLS_FAILED.begin(door, cause)


def measure(rpc: MethodDescriptor, door: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `method`, so that its calls are counted and timed."""
    meter = CallMeter(rpc, door)

    async def call(*arguments: Any) -> Any:
        start = now()
        try:
            result = await method(*arguments)
        except BaseException as error:
            meter.fail(start, error)
            raise
        meter.succeed(start)
        return result

    return call


class CallMeter:
    """Counts and times the calls of one RPC at one door."""

    def __init__(self, rpc: MethodDescriptor, door: str) -> None:
        """Begin to count calls.

        Args:
            rpc: the typed RPC, by either door.
            door: `JSON` or `GRPC`.
        """
        self._name = f"{rpc.containing_service.full_name}/{rpc.name}"
        self._door = door
        self._succeeded = CALLS.find(self._name, "OK", door)

    def succeed(self, start: float) -> None:
        """Count a call that succeeded.

        Args:
            start: when it began, as `now` says it.
        """
        self._succeeded.observe(now() - start)

    def fail(self, start: float, error: BaseException) -> None:
        """Count a call that failed. One whose caller has gone is cancelled."""
        code = "CANCELLED"
        if isinstance(error, Exception) and not isinstance(error, grpc.aio.InternalError):
            code = Code.Name(get_code(error))
            CALLS_FAILED.add(self._door, name_cause(error))
        CALLS.find(self._name, code, self._door).observe(now() - start)
