"""The wire format of protobuf, as far as it is read without a parser."""

from typing import NamedTuple

# The wire type of strings, bytes and messages.
_DELIMITED = 2

# More than any message has that a client sends.
_MAX_FIELDS = 1_000


class Field(NamedTuple):
    """A field of a message."""

    key: int
    """Its number, and the wire type of its value."""
    start: int
    """Where its value begins."""
    end: int
    """Where what follows it begins."""


def make_key(number: int) -> int:
    """Return the key of a length-delimited field."""
    return number << 3 | _DELIMITED


def read_size(message: bytes, position: int) -> tuple[int, int]:
    """Return the size of a length-delimited field and where its value begins, given where the size begins."""
    size = shift = 0
    for byte in message[position : position + 5]:
        position += 1
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return size, position


def read_field(message: bytes, position: int) -> Field:
    """Return the field that begins at a position. It may end beyond the message.

    Raises:
        ValueError: there is none, or a group, which clients do not send.
    """
    key, start = read_size(message, position)
    match key & 7:
        case 2:
            size, start = read_size(message, start)
            return Field(key, start, start + size)
        case 0:
            _, end = read_size(message, start)
            # A varint has up to ten bytes.
            return Field(key, start, end if message[end - 1] < 128 else read_size(message, end)[1])
        case 1:
            return Field(key, start, start + 8)
        case 5:
            return Field(key, start, start + 4)
    raise ValueError("not a field")


def measure_field(message: bytes, key: int) -> int:
    """Return how many bytes the values of the fields with this key have together.

    Raises:
        ValueError: the message does not parse, or has more than 1,000 fields.
    """
    position = size = count = 0
    while position < len(message):
        count += 1
        if count > _MAX_FIELDS:
            raise ValueError("too many fields")
        field = read_field(message, position)
        if field.key == key:
            size += field.end - field.start
        position = field.end
    return size
