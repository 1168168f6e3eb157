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

_MOST = 5_000
_MOST_BYTES = 2 << 20

# An aggregate takes its input in the order that the subquery has. In JSON, a byte may take six.
_READ = f"""
WITH next AS MATERIALIZED (
  SELECT id, {{columns}}, {{size}} AS size FROM "{AnalyticsEvent._meta.table_name}"
  WHERE customer_id = %s AND id >= %s AND id < %s ORDER BY id LIMIT {_MOST}
), read AS MATERIALIZED (
  SELECT * FROM (SELECT *, sum(size) OVER (ORDER BY id) - size AS bytes_before FROM next) AS summed
  WHERE bytes_before < {_MOST_BYTES} ORDER BY id
)
SELECT count(*) < {_MOST} AND count(*) = (SELECT count(*) FROM next), string_agg(uuid_send(id), ''), {{lists}} FROM read
"""  # noqa: S608 - made of constants


def make_read(names: Sequence[str]) -> str:
    """Return the statement that reads columns of the next events: up to 5,000, and about 2 MiB of their texts.

    It takes the customer, the first id, and the id before which the events are. It returns one row: whether these are
    the last ones, the bytes of the ids, or NULL if there is no event, and for each column what `add_texts` takes.
    """
    lists = ", ".join(f"json_agg({name})::text" for name in names)
    size = " + ".join(f"octet_length({name})" for name in names)
    return _READ.format(columns=", ".join(names), size=size, lists=lists)


def find_next_id(ids: bytes) -> str:
    """Return the first id after the last of these."""
    return str(uuid.UUID(int=int.from_bytes(ids[-ID_BYTES:]) + 1))


class ReadEvents:
    """Events that have been read, in the order of their ids."""

    def __init__(self, columns: int) -> None:
        """Begin without an event.

        Args:
            columns: how many are read.
        """
        self._ids: list[bytes] = []
        self.columns = [ColumnMaker() for _ in range(columns)]

    @property
    def number(self) -> int:
        """How many they are."""
        return sum(map(len, self._ids)) // ID_BYTES

    @property
    def size(self) -> int:
        """How many characters the different texts of all columns have."""
        return sum(column.size for column in self.columns)

    @property
    def ids(self) -> bytes:
        """The bytes of their ids."""
        return b"".join(self._ids)

    def add(self, ids: bytes, lists: Sequence[Any]) -> str:
        """Append what the statement of `make_read` returned, and return the id at which to go on."""
        self._ids.append(ids)
        add_texts(self.columns, lists)
        return find_next_id(ids)


def add_texts(makers: Sequence[ColumnMaker], lists: Sequence[Any]) -> None:
    """Append to each column the texts that the statement returned for it."""
    for maker, texts in zip(makers, lists, strict=True):
        maker.add(json.loads(texts))
