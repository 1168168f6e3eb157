"""Rows in PostgreSQL's COPY text format, made from the model's own fields."""

from operator import attrgetter
from typing import cast

from peewee import TextField

from storage.event import Event
from storage.model import AnalyticsEvent, columns, search_key

_TEXTS = [field.name for field in columns() if isinstance(field, TextField)]
_OTHERS = ["id", "created_at", "updated_at", "version_info", "search_key"]
if sorted(_TEXTS + _OTHERS) != sorted(field.name for field in columns()):
    raise AssertionError("copy_row() does not write every column: extend _OTHERS and copy_row() itself")

COPY_STATEMENT = 'COPY "{}" ({}) FROM STDIN'.format(
    AnalyticsEvent._meta.table_name,
    ", ".join(f'"{AnalyticsEvent._meta.fields[name].column_name}"' for name in _TEXTS + _OTHERS),
)

_texts = cast("attrgetter[tuple[str, ...]]", attrgetter(*_TEXTS))
_TABS = len(_TEXTS) - 1
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_row(event: Event) -> bytes:
    """One line for `COPY_STATEMENT`. It stands on the create path: about 4 µs for an ordinary event."""
    values = _texts(event)
    line = "\t".join(values)
    # Looking for characters that need an escape costs a tenth of escaping, and few events have any.
    if line.count("\t") != _TABS or "\\" in line or "\n" in line or "\r" in line:
        line = "\t".join([value.translate(_ESCAPES) for value in values])
    # JSON text has no raw control characters.
    version_info = "\\N" if event.version_info is None else event.version_info.replace("\\", "\\\\")
    key = search_key(event.entity_type, event.entity_id, event.user_id, event.recording_id)
    return (
        f"{line}\t{event.id}\t{event.created_at.isoformat()}\t{event.updated_at.isoformat()}\t{version_info}\t{key}\n"
    ).encode()
