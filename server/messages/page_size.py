"""The size of a page as JSON, measured before it is sent, so that Envoy does not cut it off."""

import re
from collections.abc import Iterable
from json.encoder import encode_basestring

from data_analytics.v1.event_pb2 import RecordedEvent
from storage import PageTooLarge

MAX_PAGE_BYTES = 16 << 20
"""The documented limit on a page. Envoy's own limit is a little higher."""

# A byte of text becomes at most six of JSON: U+0001 is printed as \u0001. A smaller page needs no measuring.
_MAX_GROWTH = 6

# The names, quotes and commas of a record's eleven fields, and its two times.
_RECORD_BYTES = 320

# Envoy prints these as \uXXXX, or as two such escapes above U+FFFF, although JSON does not require it.
_ESCAPED_ASCII = "<>\x7f"
_ESCAPED_OTHERS = re.compile(
    "[\u0080-\u009f\u00ad\u0600-\u0605\u061c\u06dd\u070f\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff"
    "\ufff0-\uffff\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def check_page_size(recordings: Iterable[RecordedEvent], size: int) -> None:
    """Raise PageTooLarge if the records exceed `MAX_PAGE_BYTES` as JSON. The estimate is a little high.

    Args:
        recordings: the records of a page.
        size: the size of the page as a message, in bytes.
    """
    if size * _MAX_GROWTH > MAX_PAGE_BYTES and sum(map(_measure_record, recordings)) > MAX_PAGE_BYTES:
        raise PageTooLarge


def _measure_record(recording: RecordedEvent) -> int:
    texts = [value for field, value in recording.ListFields() if field.name not in ("created_at", "updated_at")]
    return _RECORD_BYTES + sum(map(_measure_text, texts))


def _measure_text(text: str) -> int:
    """Return the size of a text as JSON, in bytes, without its quotes."""
    size = len(encode_basestring(text).encode()) + 5 * sum(map(text.count, _ESCAPED_ASCII))
    others = "".join(_ESCAPED_OTHERS.findall(text))
    return size - len(others.encode()) + 3 * len(others.encode("utf-16-le"))
