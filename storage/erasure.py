"""What an erasure is, what its receipt says, and the statements that make, advance and find one.

The work is done by functions of the owner of the tables (`storage/migrations/0004_erasure.py`), which the server's role
may call: that role itself may delete nothing.
"""

from typing import Any, NamedTuple

from storage.model import TIME_FORMAT

RETENTION = "retention"
"""Who asks for the erasures that RETENTION_DAYS makes. There is one for each customer, which begins again every day."""

STEP_EVENTS = 2_000
"""How many events one step looks at: 10 to 70 ms of the database's time."""


class Erasure(NamedTuple):
    """The events to erase, all of one customer. Exactly one of the four is given; texts that are not are empty."""

    customer_id: str
    all_events: bool = False
    user_id: str = ""
    entity_type: str = ""
    """ "lead" or "contact", of the entity in `entity_id`."""
    entity_id: str = ""
    created_before: str = ""
    """A time in RFC 3339."""
    block_later: bool = False
    """Whether to refuse what comes in later for the user."""


class Receipt(NamedTuple):
    """An erasure and what became of it. It is kept. Times are as in `Event.created_at`, and empty if there is none."""

    id: str
    customer_id: str
    all_events: bool
    user_id: str
    entity_type: str
    entity_id: str
    created_before: str
    block_later: bool
    requested_by: str
    created_at: str
    finished_at: str
    erased_count: int
    last_id: str
    """The id of the last event erased, or "" if none was."""
    until_id: str
    """The id after which no event is erased. Callers are not told."""


def _print_time(column: str) -> str:
    return f"coalesce(to_char({column} AT TIME ZONE 'UTC', '{TIME_FORMAT}'), '')"


_COLUMNS = {
    "id": "id::text",
    "created_before": _print_time("created_before"),
    "created_at": _print_time("created_at"),
    "finished_at": _print_time("finished_at"),
    "last_id": "coalesce(last_id::text, '')",
    "until_id": "until_id::text",
}
_SELECT = f"SELECT {', '.join(_COLUMNS.get(name, name) for name in Receipt._fields)} FROM erasure"  # noqa: S608 - constants

BEGIN = "SELECT begin_erasure(%s, %s::uuid, %s, %s, %s, %s, %s::timestamptz, %s, %s, %s::uuid)"
"""Takes what `make_values` returns."""

STEP = "SELECT erased, finished FROM erase_step(%s, %s::uuid, %s, %s)"
"""Takes the customer, the receipt's id, a name of who works on it, and a number of events. Both columns are NULL while
another one works on it, and once it is finished."""

FIND = f"{_SELECT} WHERE customer_id = %s AND id = %s::uuid"
FIND_OF_CUSTOMER = f"{_SELECT} WHERE customer_id = %s ORDER BY erasure.created_at, erasure.id"
FIND_SINCE = (
    f"{_SELECT} WHERE coalesce(finished_at, 'infinity') >= %s::timestamptz ORDER BY erasure.created_at, erasure.id"
)

# One of each customer, so that a customer with many erasures does not hold up those of others.
FIND_DUE = """
SELECT customer_id, id FROM (
  SELECT DISTINCT ON (customer_id) customer_id, id::text, leased_until FROM erasure
  WHERE finished_at IS NULL AND (leased_by = %s OR leased_until <= clock_timestamp())
  ORDER BY customer_id, leased_until
) AS due
ORDER BY leased_until LIMIT 20
"""
"""Takes a name of who asks."""

IS_PAST = "SELECT clock_timestamp() - make_interval(secs => %s) > %s::timestamptz"
"""Whether so many seconds have passed since a time."""

COUNT_BLOCKED = "SELECT count(*), max(blocked_at)::text FROM blocked_user"
FIND_BLOCKED = "SELECT customer_id, user_id FROM blocked_user"


def make_values(erasure: Erasure, receipt_id: str, requested_by: str, up_to: str = "") -> tuple[Any, ...]:
    """Return the values of `BEGIN`.

    Args:
        erasure: what to erase.
        receipt_id: a UUID. The second erasure with the same one changes nothing.
        requested_by: the name of the caller.
        up_to: an id after which no event is erased, or "".
    """
    customer, everything, user, entity_type, entity, before, block = erasure
    return (
        customer, receipt_id, everything, user, entity_type, entity, before or None, block, requested_by, up_to or None
    )  # fmt: skip
