"""Refusals as they are kept, and the statements that keep them, list them, and let go of them.

Each customer has the newest 1,000, and as many replays: creates that were answered with an event that was stored
before. All of them go after seven days. The id of a refusal is a UUIDv7, so it has its time.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

KEPT = 1_000
"""How many refusals a customer has at most, and how many replays."""

KEPT_DAYS = 7
"""How long they stay at most."""


class Refusal(NamedTuple):
    """A refusal, or a replay. The field names are the column names."""

    id: str
    """A UUIDv7 in its usual text form."""
    rpc: str
    door: str
    code: str
    tool_signature: str
    violations: str
    """JSON: a list of objects, each with the name of a field and the rule that it breaks."""
    request_id: str
    replayed_event_id: str
    """The event that a replay was answered with. Empty of a refusal."""
    omitted: int
    """How many more there were at about that time, which are not kept."""


class RefusalQuery(NamedTuple):
    """A list of refusals."""

    customer_id: str
    since_id: str
    """Those are listed whose id is not less."""
    before_id: str
    """Those are listed whose id is less."""
    has_replays: bool
    """Whether replays are listed too."""
    page_size: int


_NAMES = ", ".join(("customer_id", *Refusal._fields))
_ROW = "(%s, %s, %s, %s, %s, %s, %s, %s, nullif(%s, '')::uuid, %s)"
# A row that is sent a second time, because no answer came, is there already.
_INSERT = f"INSERT INTO refusal ({_NAMES}) VALUES {{rows}} ON CONFLICT (customer_id, id) DO NOTHING"  # noqa: S608 - constants
_TRIM = """
DELETE FROM refusal WHERE customer_id = %s AND replayed_event_id {is_kind} AND id <= (
  SELECT id FROM refusal WHERE customer_id = %s AND replayed_event_id {is_kind} ORDER BY id DESC OFFSET {kept} LIMIT 1
)
"""
_COLUMNS = ", ".join(
    {
        "id": "id::text",
        "violations": "violations::text",
        "replayed_event_id": "coalesce(replayed_event_id::text, '')",
    }.get(name, name)
    for name in Refusal._fields
)
_LIST = f"""
SELECT {_COLUMNS} FROM refusal WHERE customer_id = %s AND id >= %s AND id < %s {{condition}}
ORDER BY refusal.id DESC LIMIT %s
"""  # noqa: S608 - made of constants

# For the housekeeping: the primary key leads from customer to customer.
FIND_NEXT_CUSTOMER = "SELECT customer_id FROM refusal WHERE customer_id > %s ORDER BY customer_id LIMIT 1"
DELETE_OLD = "DELETE FROM refusal WHERE customer_id = %s AND id < %s"

Statement = tuple[str, Sequence[Any]]
"""A statement and its values."""


def make_insert(customer_id: str, refusals: Sequence[Refusal]) -> Statement:
    """Return the statement that keeps refusals of one customer."""
    sql = _INSERT.format(rows=", ".join([_ROW] * len(refusals)))
    return sql, [value for refusal in refusals for value in (customer_id, *refusal)]


def make_trim(customer_id: str, *, of_replays: bool) -> Statement:
    """Return the statement that deletes a customer's refusals, or its replays, beyond the newest."""
    is_kind = "IS NOT NULL" if of_replays else "IS NULL"
    return _TRIM.format(is_kind=is_kind, kept=KEPT), (customer_id, customer_id)


def make_list(query: RefusalQuery) -> Statement:
    """Return the statement that lists one refusal more than a page has."""
    condition = "" if query.has_replays else "AND replayed_event_id IS NULL"
    return _LIST.format(condition=condition), (*query[:3], query.page_size + 1)
