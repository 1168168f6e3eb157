"""How large a page is as JSON, known before it is sent: it is refused here and not cut off by Envoy."""

import re
from collections.abc import Iterable
from json.encoder import encode_basestring

from data_analytics.v1.event_pb2 import RecordedEvent
from storage import PageTooLarge

MAX_BYTES = 16 << 20
"""The limit of CONTRACT.md. Envoy's own limit is a little higher."""

# A byte of text makes at most six of JSON: U+0001 is printed as \u0001. Below a sixth there is nothing to measure.
_MAX_GROWTH = 6

# Names, quotes and commas of the eleven fields of a record, and its two times.
_RECORD_BYTES = 320

# Printed by Envoy as \uXXXX, or as two of these above U+FFFF, though JSON does not ask for it.
_ESCAPED_ASCII = "<>\x7f"
_ESCAPED_OTHERS = re.compile(
    "[\u0080-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff"
    "\ufff0-\uffff\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def check_size(recordings: Iterable[RecordedEvent], size: int) -> None:
    """Raises PageTooLarge if the records take more than `MAX_BYTES` as JSON, measured a little upwards.

    Args:
        recordings: of a page.
        size: of the page as a message, in bytes.
    """
    if size * _MAX_GROWTH > MAX_BYTES and sum(map(_json_bytes, recordings)) > MAX_BYTES:
        raise PageTooLarge


def _json_bytes(recording: RecordedEvent) -> int:
    texts = [value for field, value in recording.ListFields() if field.name not in ("created_at", "updated_at")]
    return _RECORD_BYTES + sum(map(_text_bytes, texts))


def _text_bytes(text: str) -> int:
    size = len(encode_basestring(text).encode()) + 5 * sum(map(text.count, _ESCAPED_ASCII))
    others = "".join(_ESCAPED_OTHERS.findall(text))
    return size - len(others.encode()) + 3 * len(others.encode("utf-16-le"))
