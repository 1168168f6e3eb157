"""Events as rows in PostgreSQL's COPY text format. The columns come from the model."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from storage.event import TEXT_COUNT, Event
from storage.model import AnalyticsEvent, list_columns, make_search_key

COLUMNS = [*Event._fields, "search_key"]
"""The table's columns in the order of `INTO`. The search key is the one that is no field of an event."""
if sorted(COLUMNS) != sorted(field.name for field in list_columns()):
    raise AssertionError("the fields of Event and the columns of the table differ")

INTO = '"{}" ({})'.format(
    AnalyticsEvent._meta.table_name,
    ", ".join(f'"{AnalyticsEvent._meta.fields[name].column_name}"' for name in COLUMNS),
)
"""The table and its columns, as COPY and INSERT name them."""

COPY_STATEMENT = f"COPY {INTO} FROM STDIN"


class Row(NamedTuple):
    """An event ready to be written."""

    event: Event
    line: bytes
    """For `COPY_STATEMENT`."""


def encode_row(event: Event) -> Row:
    """Return `event` ready to be written. Encoding rows while another batch commits keeps the database busy."""
    return Row(event, _encode_line(event))


def encode_rows(events: Sequence[Event]) -> list[Row]:
    """Return many events ready to be written, in two thirds of the time that `encode_row` takes for each."""
    if not events:
        return []
    columns: Any = Event._make(zip(*events, strict=True))  # Each field is the column of that name.
    search_keys = map(make_search_key, columns.entity_type, columns.entity_id, columns.user_id, columns.recording_id)
    lines = zip(
        *map(_escape_column, columns[:TEXT_COUNT]),
        map(_escape_version_info, columns.version_info),
        *columns[TEXT_COUNT + 1 :],
        search_keys,
        strict=True,
    )
    return list(map(Row, events, [f"{line}\n".encode() for line in map("\t".join, lines)]))


def _encode_line(event: Event) -> bytes:
    """Return the event's line for `COPY_STATEMENT`. Every create does this: about 2 µs for an ordinary event."""
    texts = cast("tuple[str, ...]", event[:TEXT_COUNT])
    line = "\t".join(texts)
    # Few events need escaping, and looking for such characters takes a tenth of the time that escaping takes.
    if line.count("\t") != TEXT_COUNT - 1 or "\\" in line or "\n" in line or "\r" in line:
        line = "\t".join(map(_escape, texts))
    version_info = _escape_version_info(event.version_info)
    key = make_search_key(event.entity_type, event.entity_id, event.user_id, event.recording_id)
    return f"{line}\t{version_info}\t{event.id}\t{event.created_at}\t{event.updated_at}\t{key}\n".encode()


def _escape(text: str) -> str:
    # In a long text with many such characters, str.translate takes five times as long.
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _escape_column(texts: Sequence[str]) -> Sequence[str]:
    """Return the texts of a column as they are in lines. Few columns need escaping, and one look finds those."""
    text = "".join(texts)
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return list(map(_escape, texts))
    return texts


def _escape_version_info(version_info: str | None) -> str:
    # JSON text has no raw control characters.
    return "\\N" if version_info is None else version_info.replace("\\", "\\\\")
