"""The statements of the searches: Peewee builds them from the model once, at import, and they are kept as text.

Building such a query takes Peewee about a millisecond, more than PostgreSQL takes to answer it.
"""

from typing import Any, NamedTuple

from peewee import JOIN, SQL, Case, Cast, Join, PostgresqlDatabase, Select, Tuple, Value, fn

from storage.event import Found
from storage.model import TIME_FORMAT, AnalyticsEvent


class _Parameter(NamedTuple):
    """A placeholder in a query for a value that each execution supplies by name."""

    name: str


class Statement(NamedTuple):
    """A statement to prepare once in each session."""

    prepare: str
    execute: str
    """With the customer as `%s`, for psycopg2, and the other values as fields of `str.format`, which takes a fourth of
    psycopg2's time for them."""


# The values of an execution, in the order of the prepared statement's parameters.
_PARAMETERS = ("customer_id", "keys", "limit", "offset", "page_end", "max_bytes", "total", "before_at", "before_id")


def _bind(name: str) -> Value:
    return Value(_Parameter(name), converter=False, unpack=False)


_CUSTOMER = _bind("customer_id")
_KEYS = Cast(_bind("keys"), "uuid[]")


def _make_statement(name: str, query: Any) -> Statement:
    context: Any = PostgresqlDatabase(None).get_sql_context()
    sql, parameters = context.sql(query).query()
    numbered = sql % tuple(f"${_PARAMETERS.index(parameter.name) + 1}" for parameter in parameters)
    types = "text, uuid[], bigint, bigint, bigint, bigint"
    values = "%s, '{{{keys}}}', {limit}, {offset}, {page_end}, {max_bytes}"
    if "$7" in numbered:
        types += ", bigint, timestamptz, uuid"
        values += ", {total}, '{before_at}', '{before_id}'"
    return Statement(f"PREPARE {name} ({types}) AS {numbered}", f"EXECUTE {name} ({values})")


def _bound(event: Any, *, bounded: bool) -> list[Any]:
    """Return the condition that an event stands after the given place in the order of a search, if it is asked for."""
    place = Tuple(_bind("before_at"), _bind("before_id"))
    return [Tuple(event.created_at, event.id) < place] if bounded else []


def _select_newest(limit: Any, *, bounded: bool) -> Select:
    """Select the ids and times of each search key's `limit` newest events: that many index entries per key, no sort."""
    wanted = Select(columns=[fn.unnest(_KEYS).alias("key")]).alias("wanted")
    event = AnalyticsEvent.alias("event")
    newest = (
        event.select(event.id, event.created_at)
        .where(event.customer_id == _CUSTOMER, event.search_key == wanted.c.key, *_bound(event, bounded=bounded))
        .order_by(event.created_at.desc(), event.id.desc())
        .limit(limit)
        .alias("newest")
    )
    return Select(
        [Join(wanted, newest, JOIN.LATERAL, on=SQL("true"))], [newest.c.id, newest.c.created_at, wanted.c.key]
    )


def _select_page(found: Any) -> Any:
    """Select the ids and times of the page, as a CTE because it is used twice."""
    return (
        Select([found], [found.c.id, found.c.created_at, found.c.key])
        .order_by(found.c.created_at.desc(), found.c.id.desc())
        .limit(_bind("limit"))
        .offset(_bind("offset"))
        .cte("on_page", columns=("id", "created_at", "key"))
    )


def _select_events(on_page: Any, total: Any) -> Any:
    """Select the events of the page: in each row the total, the columns of `Found`, and the id.

    It is one statement, so that page and total show the same moment, and an outer join, so that an empty page still has
    its total. `message` is NULL when the page holds more text than a response may carry, so that it is not fetched.
    """
    stored = AnalyticsEvent.alias("stored")
    # Each event is looked up by itself, and by all that either index has. LIMIT keeps the planner from another order,
    # which costs the same while the table is small, and would stay in use until the table has been analyzed.
    event = (
        stored.select(*[getattr(stored, name) for name in Found._fields])
        .where(
            stored.customer_id == _CUSTOMER,
            stored.id == on_page.c.id,
            stored.search_key == on_page.c.key,
            stored.created_at == on_page.c.created_at,
        )
        .limit(SQL("1"))
        .alias("event")
    )
    text = fn.SUM(fn.octet_length(event.c.message)).over()
    limited = {"message": Case(None, [(text <= _bind("max_bytes"), event.c.message)]).alias("message")}
    rows = Select(
        [Join(on_page, event, JOIN.LATERAL, on=SQL("true"))],
        [on_page.c.id, *[limited.get(name, event.c[name]) for name in Found._fields]],
    ).alias("rows")
    times = {name: _format_time(rows.c[name]) for name in ("created_at", "updated_at")}
    columns = [times.get(name, rows.c[name]) for name in Found._fields]
    return Select(
        [Join(total, rows, JOIN.LEFT_OUTER, on=SQL("true"))],
        [total.c.total, *columns, rows.c.id],
    ).order_by(rows.c.created_at.desc(), rows.c.id.desc())


def _format_time(instant: Any) -> Any:
    """Print a time in the form of `Event.created_at`, whatever the time zone of the session."""
    return fn.to_char(fn.timezone(SQL("'UTC'"), instant), SQL(f"'{TIME_FORMAT}'"))


def _make_all(name: str, *, bounded: bool = False) -> Statement:
    on_page = _select_page(_select_newest(_bind("page_end"), bounded=bounded).alias("found"))
    event = AnalyticsEvent.alias("event")
    conditions = (event.customer_id == _CUSTOMER, event.search_key == fn.ANY(_KEYS), *_bound(event, bounded=bounded))
    count = event.select(fn.COUNT(SQL("*"))).where(*conditions)
    listed = Select([on_page], [fn.COUNT(SQL("*")).alias("listed")]).alias("page")
    # A page that is neither full nor past the end holds the last event, so its total is known without counting.
    is_last = (listed.c.listed < _bind("limit")) & ((listed.c.listed > SQL("0")) | (_bind("offset") == SQL("0")))
    total = Select([listed], [_know_total([(is_last, _bind("offset") + listed.c.listed)], count, bounded=bounded)])
    return _make_statement(name, _select_events(on_page, total.alias("total")).with_cte(on_page))


def _make_latest(name: str, *, bounded: bool = False) -> Statement:
    found = _select_newest(SQL("1"), bounded=bounded).cte("found", columns=("id", "created_at", "key"))
    on_page = _select_page(found)
    total = Select([found], [_know_total([], fn.COUNT(SQL("*")), bounded=bounded)]).alias("total")
    return _make_statement(name, _select_events(on_page, total).with_cte(found, on_page))


def _know_total(cases: list[Any], count: Any, *, bounded: bool) -> Any:
    """Return the total: the one that is given, if it is, else that of the case that holds, else the count."""
    if bounded:
        cases = [(_bind("total") >= SQL("0"), _bind("total")), *cases]
    return (Case(None, cases, count) if cases else count).alias("total")


ALL = _make_all("find_all")
"""Find all matching events. Always returns at least one row. `page_end` is the sum of `limit` and `offset`."""

LATEST = _make_latest("find_latest")
"""Find the newest event of each key. Takes the same values as `ALL`."""

ALL_BEFORE = _make_all("find_all_before", bounded=True)
"""Find all matching events after a place in their order. Takes the values of `ALL`, the time and id of that place, and
the total if it is known, otherwise -1."""

LATEST_BEFORE = _make_latest("find_latest_before", bounded=True)
"""Find the newest event of each key after a place in their order. Takes the same values as `ALL_BEFORE`."""

SESSION = {
    # These leave one plan, nested loops over the indexes. It is right at any size of the table, and statistics that are
    # out of date or miss the values cannot mislead the planner into a worse one.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""The settings of a session that executes these statements."""
