"""A line in the log for each call, at DEBUG."""

import logging
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from server.access.caller import get_caller

log = logging.getLogger(__name__)


def log_calls(rpc: MethodDescriptor, method: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap `method` so that each call is logged, but only if the log level asks for it: otherwise calls pay nothing."""
    if not log.isEnabledFor(logging.DEBUG):
        return method

    async def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        outcome = "ok"
        try:
            return await method(*arguments)
        except BaseException as error:
            outcome = type(error).__name__
            raise
        finally:
            milliseconds = round((time.perf_counter() - start) * 1000, 3)
            answered = {"rpc": rpc.full_name, "outcome": outcome, "milliseconds": milliseconds}
            log.debug("answered", extra={**answered, "caller": get_caller().name})

    return call
