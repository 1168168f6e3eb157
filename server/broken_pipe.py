"""Commands whose reader stops early, such as `head`."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def tolerate_broken_pipe() -> Iterator[None]:
    """End the block without an error when nobody reads standard output any more."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # At its exit, Python would try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
