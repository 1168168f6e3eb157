"""The fields of a create, read from JSON in the time that protobuf takes, by a reader compiled from the descriptor.

msgspec decodes a body into a struct of exactly the request's fields. It does not see a name that stands twice, so the
members are counted: each has one colon outside of strings, so the colons of the body, less those in its decoded texts
and less those of `version_info`, are as many as the fields that were sent. An escaped colon would not be in the count,
so a body that may have one is decoded a second time, by a decoder that does see such names.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.struct_pb2 import Struct
from msgspec import Raw

from server.messages.json_codec.objects import read_object
from server.messages.json_codec.strict import Unreadable, decode
from server.messages.version_info import MAX_DEPTH

# The event is one level around `version_info`.
EVENT_DEPTH = MAX_DEPTH + 1

# No strict decoder returns this text, so it marks a field that was not sent.
_ABSENT = "\udc00"
_NO_RAW = Raw(b"")


class Read(NamedTuple):
    """The contents of one create."""

    texts: tuple[str, ...]
    """Its string fields in the order of `FieldReader.names`, "" where one was not sent."""
    version_info: str | None
    ignored: Sequence[str] = ()
    """The names of its fields that are not known, if these are ignored."""


class FieldReader:
    """The fast reader of one type of create."""

    def __init__(self, message: Descriptor, text_fields: Sequence[str], *, ignore_unknown: bool = False) -> None:
        """Compile the reader.

        Args:
            message: the type of request.
            text_fields: its string fields, in the order in which their texts are wanted.
            ignore_unknown: whether to ignore fields that are not known, in place of not accepting the body.

        Raises:
            NotImplementedError: the type has a field that this class does not support.
        """
        self.names = tuple(text_fields)
        """The names of the string fields."""
        self.object_name = _find_object_field(message, text_fields)
        """The name of the field that takes any object."""
        self.known = frozenset((*self.names, self.object_name))
        self._ignore_unknown = ignore_unknown
        full = self._make_struct("Full", str, "")
        sparse = self._make_struct("Sparse", str | None, _ABSENT)
        self._decode_full = msgspec.json.Decoder(full).decode
        self._decode_sparse = msgspec.json.Decoder(sparse).decode
        self._decode_many: Any = msgspec.json.Decoder(list[full]).decode  # type: ignore[valid-type]
        self._decode_many_sparse: Any = msgspec.json.Decoder(list[sparse]).decode  # type: ignore[valid-type]

    def read(self, body: bytes) -> Read:
        """Return the contents of a body.

        Raises:
            Unreadable: the body is not accepted.
        """
        try:
            values = _to_tuple(self._decode_full(body))
            texts, raw = values[:-1], bytes(values[-1])
            members = body.count(b":") - "".join(texts).count(":") - raw.count(b":")
            sent = len(texts) - texts.count("") + (raw != b"")
            if members == sent and not _may_hide_colon(body):
                return Read(texts, read_object(raw) if raw else None)
        except msgspec.ValidationError:
            pass  # A null, perhaps.
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise Unreadable from None
        return self._read_sparse(body)

    def read_many(self, bodies: Sequence[Any]) -> tuple[Sequence[tuple[str, ...]], list[str | None]]:
        """Return the texts and the `version_info` of each of many bodies. Cheaper than `read` for each.

        Raises:
            Unreadable: one of them is not accepted, or has a field that is to be ignored.
        """
        body = b"[" + b",".join(bodies) + b"]"
        try:
            return self._read_many(body, self._decode_many(body), "")
        except (msgspec.ValidationError, _Uncertain):
            pass
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise Unreadable from None
        try:
            return self._read_many(body, self._decode_many_sparse(body), _ABSENT)
        except (ValueError, msgspec.MsgspecError, RecursionError, _Uncertain):
            raise Unreadable from None

    def _read_sparse(self, body: bytes) -> Read:
        """Return the contents of a body in which a text is "" or null, or a colon may be hidden."""
        try:
            values = _to_tuple(self._decode_sparse(body))
        except (ValueError, msgspec.MsgspecError, RecursionError):
            raise Unreadable from None
        texts, raw = values[:-1], bytes(values[-1])
        members = body.count(b":") - "".join(filter(None, texts)).count(":") - raw.count(b":")
        sent = len(texts) - texts.count(_ABSENT) + (raw != b"")
        ignored: Sequence[str] = ()
        if members != sent or _may_hide_colon(body):
            ignored = [name for name in decode(body, EVENT_DEPTH) if name not in self.known]
        return Read(_fill(texts), read_object(raw) if raw else None, ignored)

    def _read_many(
        self, body: bytes, structs: list[Any], absent: str
    ) -> tuple[Sequence[tuple[str, ...]], list[str | None]]:
        *columns, raw_column = zip(*map(_to_tuple, structs), strict=True)
        raws = list(map(bytes, raw_column))
        joined = "".join(["".join(filter(None, column) if absent else column) for column in columns])
        members = body.count(b":") - joined.count(":") - b"".join(raws).count(b":")
        sent = (len(columns) + 1) * len(structs) - sum(column.count(absent) for column in columns) - raws.count(b"")
        if members != sent or _may_hide_colon(body):
            raise _Uncertain
        rows = list(zip(*columns, strict=True))
        return list(map(_fill, rows)) if absent else rows, [read_object(raw) if raw else None for raw in raws]

    def _make_struct(self, struct_name: str, text_type: Any, absent: str) -> Any:
        return msgspec.defstruct(
            struct_name,
            [*((name, text_type, absent) for name in self.names), (self.object_name, Raw, _NO_RAW)],
            forbid_unknown_fields=not self._ignore_unknown,
            gc=False,
        )


class _Uncertain(Exception):
    """A body whose members could not be counted."""


_to_tuple: Any = msgspec.structs.astuple


def _fill(texts: tuple[str | None, ...]) -> tuple[str, ...]:
    return tuple(["" if text is None or text is _ABSENT else text for text in texts])


def _may_hide_colon(body: bytes) -> bool:
    return b"\\" in body and (b"\\u003a" in body or b"\\u003A" in body)


def _find_object_field(message: Descriptor, text_fields: Sequence[str]) -> str:
    """Return the name of the one field that is no text, and takes any object."""
    struct: Any = Struct.DESCRIPTOR
    others = [field for field in message.fields if field.name not in text_fields]
    texts = [message.fields_by_name[name] for name in text_fields]
    if not all(field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated for field in texts):
        raise NotImplementedError(f"{message.full_name}: a field that is not one text")
    if len(others) != 1 or others[0].message_type is not struct or others[0].is_repeated:
        raise NotImplementedError(f"{message.full_name}: not one field for any object")
    if any(field.name != field.json_name for field in message.fields):
        raise NotImplementedError(f"{message.full_name}: a field with another name in JSON")
    return others[0].name
