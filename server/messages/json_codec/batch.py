"""A batch, from the JSON of a body to events, in slices between which others can have the event loop."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import msgspec
from google.protobuf.message import Message

from server.messages import wording
from server.messages.compiled_rules import get_field_rules
from server.messages.convert import CreateKind
from server.messages.explanations import Explanations
from server.messages.json_codec.create import CreateReader, strip_bom
from server.messages.json_codec.elements import Elements
from server.messages.json_codec.fields import MALFORMED
from server.messages.json_codec.names import find_nearest, print_name
from server.messages.json_codec.one_by_one import OneByOne, Slice
from server.messages.json_codec.rows import RowReader, Rows
from server.messages.json_codec.split import MAX_VALUE_BYTES, Splitter, check_ignored
from server.messages.json_codec.strict import Unreadable
from server.messages.refusals import FieldViolation, InvalidRequest
from server.messages.validation import check_count

# A slice of ordinary events takes about half a millisecond.
_SLICE_EVENTS = 100
_SLICE_BYTES = 64 << 10

# A body of so many bytes is decoded at once, which takes at most 3 ms.
_WHOLE_BYTES = 512 << 10

# A list of millions of empty events would fill the memory before it could be counted.
_MAX_COMMAS = 100_000


class BatchReader:
    """The reader of a message that is a list of creates."""

    def __init__(self, message: type[Message], kind: CreateKind[Any], *, ignore_unknown: bool = False) -> None:
        """Compile the reader.

        Args:
            message: the batch.
            kind: the kind of its creates.
            ignore_unknown: whether fields that are not known are ignored, in place of refused.
        """
        descriptor: Any = message.DESCRIPTOR
        events = descriptor.fields[0]
        if (
            len(descriptor.fields) != 1
            or events.name != events.json_name
            or events.message_type is not kind.request.DESCRIPTOR
        ):
            raise NotImplementedError(f"{descriptor.full_name}: not a list of {kind.request.DESCRIPTOR.full_name}")
        self.message: Any = message
        self.max_events = get_field_rules(events).repeated.max_items
        self.name = events.name
        self.ignore_unknown = ignore_unknown
        self.creates = CreateReader(kind, ignore_unknown=ignore_unknown)
        fields = self.creates.fields
        self.whole = RowReader(fields, self.name)
        self.slices = RowReader(fields)
        batch = msgspec.defstruct("Batch", [(self.name, list[msgspec.Raw])])
        self.decode: Any = msgspec.json.Decoder(batch).decode

    def read(self, body: bytes) -> "BatchReading":
        """Return the reading of `body`, which does its work as it is iterated over."""
        return BatchReading(self, strip_bom(body))


class BatchReading:
    """The reading of one batch. Iterating over it yields its events in order, some at a time, or none.

    Between two steps the caller may do other things. Each event comes as the event under its new id, or as what is
    wrong with it alone, with places in the whole body. A step raises InvalidRequest if the batch is refused as a whole.
    """

    def __init__(self, reader: BatchReader, body: bytes) -> None:
        self._reader = reader
        self._body = body
        self._explanations = Explanations()
        self._one_by_one = OneByOne(reader.creates, body, self._explanations)

    @property
    def ignored(self) -> Counter[str]:
        """How often fields that are not known were ignored, by their names. Complete when the iteration is.

        After many different names, those of others are not kept, and they are counted under "…".
        """
        return self._one_by_one.ignored

    def __iter__(self) -> Iterator[Slice]:
        rows = self._read_whole()
        if rows is not None:
            yield from self._make_events(rows)
            return
        elements = self._decode()
        if elements is None:
            elements = yield from self._split()
        yield from self._read_elements(elements)

    def _read_whole(self) -> Rows | None:
        """Return the contents of all events, in the shortest time, or None if anything may be wrong with them."""
        if len(self._body) > _WHOLE_BYTES or self._body.count(b",") > _MAX_COMMAS:
            return None
        try:
            rows = self._reader.whole.read(self._body)
        except Unreadable:
            return None
        self._check_count(rows.count)
        return rows

    def _make_events(self, rows: Rows) -> Iterator[Slice]:
        """Yield the events that have these contents."""
        elements: Elements | None = None
        for start in range(0, rows.count, _SLICE_EVENTS):
            stop = min(start + _SLICE_EVENTS, rows.count)
            try:
                version_infos = rows.read_version_infos(start, stop)
            except Unreadable:
                elements = elements or self._decode()
                assert elements is not None  # The text has been read once.
                yield from self._one_by_one.read(elements, range(start, stop))
            else:
                yield self._make_slice(rows.get_columns(start, stop), version_infos)

    def _read_elements(self, elements: Elements) -> Iterator[Slice]:
        """Yield the events of which only the texts are known yet."""
        count = len(elements.texts)
        self._check_count(count)
        stop = 0
        while stop < count:
            start, size = stop, 0
            while stop < min(start + _SLICE_EVENTS, count) and size < _SLICE_BYTES:
                size += len(elements.texts[stop])
                stop += 1
            if size > MAX_VALUE_BYTES:
                yield from self._one_by_one.read(elements, range(start, stop))
                continue
            try:
                rows = self._reader.slices.read(b"[" + b",".join(elements.texts[start:stop]) + b"]")
                version_infos = rows.read_version_infos(0, rows.count)
            except Unreadable:
                yield from self._one_by_one.read(elements, range(start, stop))
            else:
                yield self._make_slice(rows.get_columns(0, rows.count), version_infos)

    def _make_slice(self, columns: Sequence[Sequence[str]], version_infos: Sequence[str | None]) -> Slice:
        return self._reader.creates.kind.make_events(columns, version_infos, self._explanations)

    def _decode(self) -> Elements | None:
        """Return the elements of a body that is JSON and nothing but a list of them, or None."""
        body, reader = self._body, self._reader
        if body.count(b",") > _MAX_COMMAS:
            return None
        try:
            texts = getattr(reader.decode(body), reader.name)
        except MALFORMED:
            return None
        # One colon is that of the list. If there are more, there is another member, perhaps a second list.
        if body.count(b":") - b"".join(texts).count(b":") != 1:
            return None
        return Elements(body, reader.name, texts)

    def _split(self) -> Generator[Slice, None, Elements]:
        """Return the elements of a body that has a fault, or is large, or has other members."""
        reader = self._reader
        splitter = Splitter(self._body, reader.name, reader.max_events)
        for _ in splitter.split():
            yield []
        violations = splitter.violations
        for name, value in splitter.others:
            if reader.ignore_unknown:
                check_ignored(name, value)
                self._one_by_one.count_ignored([name])
            else:
                unknown = wording.describe_unknown("field", find_nearest(name, frozenset([reader.name])))
                violations.append(FieldViolation(print_name(name), unknown))
        if violations:
            raise InvalidRequest(list(dict.fromkeys(violations)))
        return Elements(
            self._body, reader.name, [self._body[start:end] for start, end in splitter.spans], splitter.spans
        )

    def _check_count(self, count: int) -> None:
        """Refuse a batch without events, or with too many, in the words of the rules of its message."""
        reader = self._reader
        if count > reader.max_events or not count:
            check_count(reader.message(), reader.name, min(count, reader.max_events + 1))
