"""Lines in the log about calls: one for each that failed, within bounds, and one for a share of the others."""

import asyncio
import logging
import random
import time
from typing import Any

from google.rpc import code_pb2

from server.access.caller import get_caller
from server.ingest.notes import JSON
from server.messages.faults import find_fault
from server.messages.refusals import FieldViolation
from server.messages.statuses import get_code, get_http_status
from server.request_ids import Metadata, RequestIds, find_request_ids
from server.tracing.interface import call_span
from server.variables import SHARES

log = logging.getLogger(__name__)

# How many calls that failed have a line a second, for each cause. The others are counted.
_MAX_LINES = 10
_WINDOW_SECONDS = 1.0

# Of what was wrong with one request.
_MAX_FAULTS = 5

# Of why a call was not admitted, which may name a key, or the origin of a page.
_MAX_REASON = 200

# What is not the caller's doing.
_OWN_FAULTS = (code_pb2.INTERNAL, code_pb2.UNAVAILABLE)

now = time.perf_counter


class CallLog:
    """The lines about the calls of one server. Belongs to one event loop."""

    def __init__(self, share: int = 0) -> None:
        """Create it.

        Args:
            share: of how many in `SHARES` of the calls that succeed there is a line. At DEBUG, there is one for each
                call.
        """
        self._tells_all = log.isEnabledFor(logging.DEBUG)
        self.share = SHARES if self._tells_all else share
        """Of how many in `SHARES` of the calls that succeed there is a line."""
        self._counts: dict[str, int] = {}
        """How many calls have failed within the window, by cause."""
        self._timer: asyncio.TimerHandle | None = None

    def tell_success(self, rpc: str, door: str, start: float, metadata: Metadata) -> None:
        """Log a call that succeeded, if it is one of the share."""
        ids = find_request_ids(metadata)
        if _draw(ids.request_id) < self.share:
            log.info("answered", extra={"rpc": rpc, "door": door, "code": "OK", **_describe_call(start, ids)})

    def tell_gone(self, rpc: str, door: str, start: float, metadata: Metadata) -> None:
        """Log a call whose caller has gone before it was answered: at DEBUG only."""
        if self._tells_all:
            ids = find_request_ids(metadata)
            log.debug("caller gone", extra={"rpc": rpc, "door": door, **_describe_call(start, ids)})

    def tell_failure(self, rpc: str, door: str, start: float, metadata: Metadata, error: Exception, cause: str) -> None:
        """Log why a call failed, unless there were too many of the same cause within this second.

        Args:
            rpc: what was called.
            door: `JSON` or `GRPC`.
            start: when it began, as `now` says it.
            metadata: the metadata of the call.
            error: why it failed.
            cause: what metrics call that.
        """
        if not self._may_tell(cause):
            return
        code, faults = find_fault(error)
        line: dict[str, Any] = {"rpc": rpc, "door": door, "code": code, "cause": cause}
        if door == JSON:
            line["status"] = get_http_status(error)
        line["faults"] = [_format(each) for each in faults[:_MAX_FAULTS]]
        is_own = get_code(error) in _OWN_FAULTS
        log.log(
            logging.WARNING if is_own else logging.INFO,
            "failed" if is_own else "refused",
            extra={**line, **_describe_call(start, find_request_ids(metadata))},
        )

    def tell_not_admitted(self, rpc: str, door: str, metadata: Metadata, cause: str, reason: str) -> None:
        """Log why a call was not admitted, within the same bounds."""
        if self._may_tell(cause):
            line = {"rpc": rpc, "door": door, "cause": cause, "reason": reason[:_MAX_REASON]}
            log.info("not admitted", extra={**line, **_list_ids(find_request_ids(metadata))})

    def close(self) -> None:
        """Log what has been counted."""
        if self._timer is not None:
            self._timer.cancel()
            self._end_window()

    def _may_tell(self, cause: str) -> bool:
        count = self._counts[cause] = self._counts.get(cause, 0) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WINDOW_SECONDS, self._end_window)
        return count <= _MAX_LINES or self._tells_all

    def _end_window(self) -> None:
        self._timer = None
        omitted = {cause: count - _MAX_LINES for cause, count in self._counts.items() if count > _MAX_LINES}
        self._counts.clear()
        if omitted and not self._tells_all:
            log.info("calls that failed without a line of their own", extra={"calls": omitted})


def _draw(request_id: str) -> int:
    """Return a number below `SHARES` for a call: that which Envoy draws, so that both logs tell of the same calls."""
    try:
        return int(request_id[:8], 16) % SHARES
    except ValueError:  # It is none of Envoy's.
        return random.randrange(SHARES)  # noqa: S311 - no secret


def _describe_call(start: float, ids: RequestIds) -> dict[str, Any]:
    milliseconds = round((now() - start) * 1000, 3)
    span = call_span.get()
    trace = {"trace_id": span.trace_id} if span is not None else {}
    return {"milliseconds": milliseconds, "caller": get_caller().name, **_list_ids(ids), **trace}


def _list_ids(ids: RequestIds) -> dict[str, str]:
    return {name: value for name, value in ids._asdict().items() if value}


def _format(violation: FieldViolation) -> str:
    return f"{violation.field}: {violation.description}" if violation.field else violation.description
