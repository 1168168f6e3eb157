"""The bytes of a request as messages.

A message takes many times the memory of its bytes, and a `version_info` that is nothing but empty lists takes 45 ms a
megabyte to parse. So a batch is parsed in slices, between which others can have the event loop, and an event with a
`version_info` that must be too large is not parsed at all.
"""

from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from data_analytics.v1.analytics_event_service_pb2 import (
    BatchCreateAnalyticsEventsRequest,
    CreateAnalyticsEventRequest,
)
from server.messages.compiled_rules import get_field_rules
from server.messages.refusals import FieldViolation, InvalidRequest, MalformedMessage
from server.messages.version_info import MAX_VERSION_INFO_BYTES
from server.messages.wire import make_key, measure_field, read_field
from server.messages.wording import limit_json_bytes

T = TypeVar("T", bound=Message)

_BATCH: Any = BatchCreateAnalyticsEventsRequest.DESCRIPTOR
_EVENTS = _BATCH.fields_by_name["events"]
MAX_EVENTS = get_field_rules(_EVENTS).repeated.max_items
"""The number of events that a batch or a chunk may have."""

_EVENT_KEY = make_key(_EVENTS.number)

# Enough that the work for each slice does not count. One bad event, or one text to be escaped, slows only its slice.
_SLICE_EVENTS = 100

# As a message, a number takes 11 bytes, and 2 µs to convert. The largest version_info adds 128 KiB to a slice.
_SLICE_BYTES = 64 << 10

# An object of 16 KiB as JSON takes at most 90 KiB as a message: a number takes 11 bytes, and 2 characters.
_MAX_OBJECT_BYTES = 128 << 10

_OBJECT_TOO_LARGE = FieldViolation("version_info", limit_json_bytes(MAX_VERSION_INFO_BYTES))


# No client sends fields that are not known, but a later version of the protos may have some.
_MAX_UNKNOWN_FIELDS = 1_000


class Slice(NamedTuple):
    """Some events of a batch that follow each other."""

    start: int
    stop: int
    """Where they begin and end among the batch's bytes."""
    events: int
    """How many they are."""


def parse(message: type[T], data: bytes) -> T:
    """Return the message that `data` holds.

    Raises:
        MalformedMessage: `data` does not parse.
    """
    try:
        return message.FromString(data)
    except DecodeError:
        raise MalformedMessage from None


def parse_create(message: type[T], data: bytes) -> T:
    """Return the request of a create that `data` holds.

    Raises:
        MalformedMessage: `data` does not parse.
        InvalidRequest: its `version_info` must be too large.
    """
    if len(data) > _MAX_OBJECT_BYTES:
        descriptor: Any = message.DESCRIPTOR
        _check_object(data, make_key(descriptor.fields_by_name["version_info"].number))
    return parse(message, data)


def split_events(data: bytes) -> list[Slice]:
    """Return the slices of a batch or chunk, up to one event more than there may be.

    Raises:
        MalformedMessage: `data` does not parse.
    """
    slices = []
    total = count = start = position = unknown = 0
    end = len(data)
    try:
        while position < end and total <= MAX_EVENTS:
            # Spelled out for events of less than 16 KiB, which takes a third of the time.
            if data[position] == _EVENT_KEY and (size := data[position + 1]) < 128:
                after = position + 2 + size
            elif data[position] == _EVENT_KEY and data[position + 2] < 128:
                after = position + 3 + (size & 127 | data[position + 2] << 7)
            else:
                field = read_field(data, position)
                after = field.end
                if field.key != _EVENT_KEY:
                    unknown += 1
                    if unknown > _MAX_UNKNOWN_FIELDS:
                        raise MalformedMessage
                    parse(BatchCreateAnalyticsEventsRequest, data[position:after])
                    if count:
                        slices.append(Slice(start, position, count))
                    count, start, position = 0, after, after
                    continue
            if count and (after - start > _SLICE_BYTES or count == _SLICE_EVENTS):
                slices.append(Slice(start, position, count))
                count, start = 0, position
            count += 1
            total += 1
            position = after
    except (IndexError, ValueError):
        return _parse_whole(data)  # It may have groups, which clients do not send, but the parser knows.
    if position > end:
        raise MalformedMessage
    if count:
        slices.append(Slice(start, position, count))
    return slices


def _parse_whole(data: bytes) -> list[Slice]:
    """Return a small batch or chunk as one slice."""
    if len(data) > _SLICE_BYTES:
        raise MalformedMessage
    events = len(parse(BatchCreateAnalyticsEventsRequest, data).events)
    return [Slice(0, len(data), events)] if events else []


def parse_slice(data: bytes, part: Slice) -> list[CreateAnalyticsEventRequest] | InvalidRequest:
    """Return the events of one slice of a batch, or what is wrong with the only one.

    Raises:
        MalformedMessage: the slice does not parse.
    """
    events = data[part.start : part.stop]
    if len(events) > _MAX_OBJECT_BYTES and part.events == 1:
        try:
            _check_object(events[read_field(events, 0).start :], _OBJECT_KEY)
        except InvalidRequest as error:
            return InvalidRequest(error.violations)
    parsed = list(parse(BatchCreateAnalyticsEventsRequest, events).events)
    if len(parsed) != part.events:
        raise MalformedMessage
    return parsed


_EVENT: Any = CreateAnalyticsEventRequest.DESCRIPTOR
_OBJECT_KEY = make_key(_EVENT.fields_by_name["version_info"].number)


def _check_object(data: bytes, key: int) -> None:
    """Raise InvalidRequest if the fields with this key have more bytes than a `version_info` may have."""
    try:
        size = measure_field(data, key)
    except (IndexError, ValueError):
        raise MalformedMessage from None
    if size > _MAX_OBJECT_BYTES:
        raise InvalidRequest([_OBJECT_TOO_LARGE])
