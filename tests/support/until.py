"""Waiting for something that happens in another thread or process."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = 30.0) -> T:
    """Call `condition` until its result is truthy, and return that result.

    Args:
        condition: what to wait for. It may raise: the error is then the test's.
        seconds: the longest wait. It only bounds how long a failing test takes, so it can be generous.

    Raises:
        AssertionError: the time is up.
    """
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return result
