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

ABSENT = "\udc00"
"""The text of a field that was not sent, where that is not "". No strict decoder returns it."""

MALFORMED = (ValueError, msgspec.MsgspecError, RecursionError)
"""What msgspec raises for text that it does not accept."""

to_tuple: Any = msgspec.structs.astuple


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
        self.full_struct = self._make_struct("Full", str, "")
        """A struct of the fields, with "" for a text that was not sent."""
        self.sparse_struct = self._make_struct("Sparse", str | None, ABSENT)
        """A struct of the fields that tells what was not sent from what was sent as "" or as null."""
        self._decode_full = msgspec.json.Decoder(self.full_struct).decode
        self._decode_sparse = msgspec.json.Decoder(self.sparse_struct).decode
        # Callers send one event after another in the same form. With "" or null in the last one, the next is read in
        # the form that takes them, which would otherwise be the second try.
        self._expects_empty = False

    def read(self, body: bytes) -> tuple[tuple[str, ...], str | None, Sequence[str]]:
        """Return the contents of a body, as `Read` has them: to make a `Read` would take a tenth of the time.

        Raises:
            Unreadable: the body is not accepted.
        """
        if self._expects_empty:
            return self._read_sparse(body)
        try:
            values = to_tuple(self._decode_full(body))
        except msgspec.ValidationError:
            return self._read_sparse(body)  # There may be a null.
        except MALFORMED:
            raise Unreadable from None
        texts, raw = values[:-1], bytes(values[-1])
        colons = "".join(texts).count(":")
        members = body.count(b":") - colons - raw.count(b":")
        sent = len(texts) - texts.count("") + (raw != b"")
        if members != sent or (colons and may_hide_colon(body)):
            return self._read_sparse(body)
        return texts, read_object(raw) if raw else None, ()

    def _read_sparse(self, body: bytes) -> tuple[tuple[str, ...], str | None, Sequence[str]]:
        """Return the contents of any body, also of one in which a text is "" or null."""
        try:
            values = to_tuple(self._decode_sparse(body))
        except MALFORMED:
            raise Unreadable from None
        texts, raw = values[:-1], bytes(values[-1])
        absent = texts.count(ABSENT)
        has_null = None in texts
        self._expects_empty = has_null or "" in texts
        if absent or has_null:
            texts = fill(texts)
        colons = "".join(texts).count(":")
        members = body.count(b":") - colons - raw.count(b":")
        ignored: Sequence[str] = ()
        if members != len(texts) - absent + (raw != b"") or (colons and may_hide_colon(body)):
            ignored = [name for name in decode(body, EVENT_DEPTH) if name not in self.known]
        return texts, read_object(raw) if raw else None, ignored

    def _make_struct(self, struct_name: str, text_type: Any, absent: str) -> Any:
        return msgspec.defstruct(
            struct_name,
            [*((name, text_type, absent) for name in self.names), (self.object_name, Raw, Raw(b""))],
            forbid_unknown_fields=not self._ignore_unknown,
            gc=False,
        )


def fill(texts: tuple[str | None, ...]) -> tuple[str, ...]:
    """Return the texts of a sparse struct with "" for what was not sent, or sent as null."""
    return tuple(["" if text is None or text is ABSENT else text for text in texts])


def may_hide_colon(body: bytes) -> bool:
    """Return whether a colon may be inside a text as an escape."""
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
