"""The bytes of a request as a message."""

from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from data_analytics.v1.analytics_event_service_pb2 import BatchCreateAnalyticsEventsRequest
from server.messages.compiled_rules import get_field_rules
from server.messages.refusals import MalformedMessage
from server.messages.wire import read_size

T = TypeVar("T", bound=Message)

_EVENTS: Any = BatchCreateAnalyticsEventsRequest.DESCRIPTOR.fields_by_name["events"]
MAX_EVENTS = get_field_rules(_EVENTS).repeated.max_items
"""The number of events that a batch or a chunk may have."""

# A request of this size takes at most 40 MB once parsed, even if it is all empty events.
_SMALL_BYTES = 256 << 10

# The key of the field in the wire format: its number, and the wire type of a length-delimited value.
_EVENT_KEY = _EVENTS.number << 3 | 2


def parse(message: type[T], data: bytes) -> T:
    """Return the message that `data` holds.

    Raises:
        MalformedMessage: `data` does not parse.
    """
    try:
        return message.FromString(data)
    except DecodeError:
        raise MalformedMessage from None


def parse_events(message: type[T], data: bytes) -> T:
    """Return the batch or chunk that `data` holds, with at most `MAX_EVENTS` + 1 of its events.

    One event too many is enough to refuse the request, while millions of empty ones would fill the memory.

    Raises:
        MalformedMessage: `data` does not parse.
    """
    return parse(message, cut_events(data, MAX_EVENTS + 1) if len(data) > _SMALL_BYTES else data)


def cut_events(data: bytes, count: int) -> bytes:
    """Return a batch's bytes up to the end of its event number `count`, without parsing the events.

    What is not simply one event after another is returned as it is, for the parser to judge.
    """
    position = 0
    for _ in range(count):
        if position >= len(data) or data[position] != _EVENT_KEY:
            return data
        size, position = read_size(data, position + 1)
        position += size
    return data[:position]
