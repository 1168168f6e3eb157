"""The fields of many creates, read from one text of nothing but them, as `fields` reads those of one."""

from collections.abc import Sequence
from typing import Any

import msgspec

from server.messages.json_codec.fields import ABSENT, MALFORMED, FieldReader, fill, may_hide_colon, to_tuple
from server.messages.json_codec.objects import read_object
from server.messages.json_codec.strict import Unreadable


class RowReader:
    """The fast reader of a list of creates."""

    def __init__(self, fields: FieldReader, list_name: str = "") -> None:
        """Compile the reader.

        Args:
            fields: the reader of one create.
            list_name: the name of the list, if the text is an object with nothing but it. If empty, the text is a list.
        """
        self._list_name = list_name
        self._expects_empty = False  # As in `FieldReader`.

        def make_decoder(struct: Any) -> Any:
            items = list[struct]
            kind = msgspec.defstruct("List", [(list_name, items)]) if list_name else items
            return msgspec.json.Decoder(kind).decode

        self._decode_full, self._decode_sparse = map(make_decoder, (fields.full_struct, fields.sparse_struct))

    def read(self, text: bytes) -> "Rows":
        """Return the contents of a text.

        Raises:
            Unreadable: one of its creates is not accepted, or has a field that is to be ignored, or it is no such text.
        """
        if self._expects_empty:
            return self._read_sparse(text)
        try:
            structs = self._decode(self._decode_full, text)
        except msgspec.ValidationError:
            return self._read_sparse(text)  # There may be a null.
        except MALFORMED:
            raise Unreadable from None
        columns, raws = _to_columns(structs)
        empty = sum([column.count("") for column in columns]) + raws.count(b"")
        if self._count_members(text, columns, raws) != (len(columns) + 1) * len(structs) - empty:
            return self._read_sparse(text)
        return Rows(columns, raws)

    def _read_sparse(self, text: bytes) -> "Rows":
        """Return the contents of any text, also of one in which a field is "" or null."""
        try:
            structs = self._decode(self._decode_sparse, text)
        except MALFORMED:
            raise Unreadable from None
        columns, raws = _to_columns(structs)
        absent = sum([column.count(ABSENT) for column in columns]) + raws.count(b"")
        self._expects_empty = any("" in column or None in column for column in columns)
        columns = list(map(fill, columns))
        if self._count_members(text, columns, raws) != (len(columns) + 1) * len(structs) - absent:
            raise Unreadable  # A name stands twice, or is not known.
        return Rows(columns, raws)

    def _decode(self, decode: Any, text: bytes) -> list[Any]:
        decoded = decode(text)
        items: list[Any] = getattr(decoded, self._list_name) if self._list_name else decoded
        return items

    def _count_members(self, text: bytes, columns: Sequence[Sequence[str]], raws: Sequence[bytes]) -> int:
        """Return how many members the creates have, names that stand twice included."""
        colons = sum(["".join(column).count(":") for column in columns])
        if colons and may_hide_colon(text):
            raise Unreadable
        own = 1 if self._list_name else 0
        return text.count(b":") - own - colons - b"".join(raws).count(b":")


class Rows:
    """The contents of many creates."""

    def __init__(self, columns: Sequence[Sequence[str]], objects: Sequence[bytes]) -> None:
        self.count = len(objects)
        """How many creates there are."""
        self._columns = columns
        self._objects = objects

    def get_columns(self, start: int, stop: int) -> list[Sequence[str]]:
        """Return of each string field, in the order of `FieldReader.names`, its texts in some of them."""
        return [column[start:stop] for column in self._columns]

    def read_version_infos(self, start: int, stop: int) -> list[str | None]:
        """Return the `version_info` of some of them.

        Raises:
            Unreadable: one is not accepted.
        """
        return [read_object(each) if each else None for each in self._objects[start:stop]]


def _to_columns(structs: Sequence[Any]) -> tuple[list[Any], list[bytes]]:
    """Return the values of each text of some structs, and those of their objects."""
    if not structs:
        raise Unreadable
    *columns, raws = zip(*map(to_tuple, structs), strict=True)
    return columns, list(map(bytes, raws))
