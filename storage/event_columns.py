"""Events that are read from their table as columns.

The database returns the texts of some thousand events as one JSON value for each column, and their ids as one value of
bytes. That takes the event loop as long as one event would.
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from storage.columns import ID_BYTES, ColumnMaker
from storage.model import AnalyticsEvent

MOST = 5_000
"""How many events are read at a time. The texts by which events are counted take 25 MiB at most."""

# An aggregate takes its input in the order that the subquery has.
_READ = f"""
WITH read AS MATERIALIZED (
  SELECT id, {{columns}} FROM "{AnalyticsEvent._meta.table_name}"
  WHERE customer_id = %s AND id >= %s AND id < %s ORDER BY id LIMIT {MOST}
)
SELECT string_agg(uuid_send(id), ''), {{lists}} FROM read
"""  # noqa: S608 - made of constants


def make_read(names: Sequence[str]) -> str:
    """Return the statement that reads columns of the next events.

    It takes the customer, the first id, and the id before which the events are. It returns one row: the bytes of the
    ids, or NULL if there is no event, and for each column what `add_texts` takes.
    """
    lists = ", ".join(f"json_agg({name})::text" for name in names)
    return _READ.format(columns=", ".join(names), lists=lists)


def find_next_id(ids: bytes) -> str:
    """Return the first id after the last of these."""
    return str(uuid.UUID(int=int.from_bytes(ids[-ID_BYTES:]) + 1))


def add_texts(makers: Sequence[ColumnMaker], lists: Sequence[Any]) -> None:
    """Append to each column the texts that the statement returned for it."""
    for maker, texts in zip(makers, lists, strict=True):
        maker.add(json.loads(texts))
