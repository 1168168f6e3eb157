"""Finds whose request it is before it is read, so that one customer's requests do not hold up another's.

It is a guess, good enough to share things out by: "" if the customer does not stand where clients put it. Whether a
request may be answered is decided by what is in it once it is read.
"""

import json
import re

from server.messages.refusals import Reporter
from server.messages.wire import read_size

# The longest beginning of a batch up to the customer of its first event: two keys, three sizes and 255 characters.
_SEEN_BYTES = 1_100

# As many recordings as a search may name, and one field more.
_SEEN_FIELDS = 501

SEEN_JSON_BYTES = 64 << 10
"""How much of a body in JSON is looked at."""

_NAME = b'"customer_id"'
_TOOL = b'"tool_signature"'
_TOOL_NUMBER = 8
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")
# Of what is around the fields of an event: the object alone, or that in the list of a batch.
_EVENT, _EVENT_OF_BATCH = [b"{"], [b"{", b'"events"[', b"{"]
_MAX_SEEN_LEVELS = 200
_SEEN_REPORTER_BYTES = 16 << 10
_VALUE = re.compile(rb'\s*:\s*"((?:[^"\\]|\\.){1,3060})"')
_PARAMETER = re.compile(r"[?&]customer_id=([^&]*)")


def find_customer(create: bytes) -> str:
    """Return the customer of a create request."""
    return _decode(create, _find_field(create, 1))


def find_customer_of_batch(batch: bytes) -> str:
    """Return the customer of the first event of a batch or chunk."""
    head = batch[:_SEEN_BYTES]
    event = _find_field(head, 1)
    return _decode(head, _find_field(head, 1, event.start) if event else None)


def find_customer_of_search(search: bytes) -> str:
    """Return the customer of a search request."""
    return _decode(search, _find_field(search, 2))


def find_customer_in_json(body: bytes) -> str:
    """Return the customer of a create's body, or that of the first event of a batch's."""
    name = body.find(_NAME, 0, SEEN_JSON_BYTES)
    value = _VALUE.match(body, name + len(_NAME)) if name >= 0 else None
    return value[1].decode(errors="replace") if value else ""


def find_reporter(create: bytes) -> Reporter:
    """Return who reports the event of a create request that is refused."""
    return Reporter(find_customer(create), _decode(create, _find_field(create, _TOOL_NUMBER)))


def find_reporter_of_batch(batch: bytes) -> Reporter:
    """Return who reports a batch or chunk that is refused as a whole: the customer of its first event."""
    return Reporter(find_customer_of_batch(batch))


def find_reporter_in_json(body: bytes) -> Reporter:
    """Return who reports the event, or the first of the events, in a body that is refused, or in its beginning.

    What stands deeper than the fields of an event is somebody's own, whatever its name.
    """
    found: dict[bytes, str] = {}
    path: list[bytes] = []
    last = b""
    for match in _TOKEN.finditer(body, 0, _SEEN_REPORTER_BYTES):
        token = match[0]
        if token in _OPENING:
            path.append(last + token if token == b"[" else token)
            if len(path) > _MAX_SEEN_LEVELS:
                break
        elif token in _CLOSING:
            if not path or path in (_EVENT, _EVENT_OF_BATCH):
                break
            path.pop()
        elif token in (_NAME, _TOOL) and path in (_EVENT, _EVENT_OF_BATCH) and (text := _read_text(body, match.end())):
            found.setdefault(token, text)
        last = token
    return Reporter(found.get(_NAME, ""), found.get(_TOOL, ""))


def find_customer_in_url(url: str) -> str:
    """Return the customer in the query of a search, as it was sent."""
    value = _PARAMETER.search(url)
    return value[1] if value else ""


def _read_text(body: bytes, place: int) -> str:
    value = _VALUE.match(body, place)
    try:
        text: str = json.loads(f'"{value[1].decode()}"') if value else ""
    except ValueError:
        return ""
    return text


def _decode(message: bytes, place: slice | None) -> str:
    return message[place][:_SEEN_BYTES].decode(errors="replace") if place else ""


def _find_field(message: bytes, number: int, position: int = 0) -> slice | None:
    """Return where the value of a length-delimited field is, from a position on, if those before it are such too."""
    wanted = number << 3 | 2  # Its key in the wire format. Clients write fields in the order of their numbers.
    for _ in range(_SEEN_FIELDS):
        if position >= len(message):
            return None
        key = message[position]
        size, position = read_size(message, position + 1)
        if key == wanted:
            return slice(position, position + size)
        if key > wanted or key & 7 != 2:
            return None
        position += size
    return None
