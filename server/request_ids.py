"""The ids by which a call is found in the logs."""

from collections.abc import Iterable
from typing import Any, NamedTuple

Metadata = Iterable[tuple[str, Any]]

# Envoy makes it for each call that it passes on, returns it to the caller, and logs it.
_METADATA = "x-request-id"

# What the caller sent to Envoy under that name.
_CALLERS_METADATA = "x-caller-request-id"

_MAX_CHARACTERS = 64


class RequestIds(NamedTuple):
    """The ids of one call. Each is "" if there is none, or if it is not one that a log can hold."""

    request_id: str = ""
    """Envoy's. If the call has not come through Envoy, the caller's."""
    caller_request_id: str = ""
    """The caller's, if the call has come through Envoy."""


def find_request_ids(metadata: Metadata) -> RequestIds:
    """Return the ids in the metadata of a call."""
    found = ["", ""]
    for name, value in metadata:
        if name == _METADATA:
            found[0] = _check(value)
        elif name == _CALLERS_METADATA:
            found[1] = _check(value)
    return RequestIds(*found)


def _check(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MAX_CHARACTERS and text.isascii() and text.isprintable() else ""
