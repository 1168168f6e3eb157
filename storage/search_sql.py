"""The statements of the searches: built by Peewee from the model, once, and kept as text.

To build such a query costs Peewee about a millisecond of Python, more than PostgreSQL needs to answer it.
"""

from typing import Any, NamedTuple

from peewee import JOIN, SQL, Case, Cast, Join, PostgresqlDatabase, Select, Value, fn

from storage.event import Found
from storage.model import TIME_FORMAT, AnalyticsEvent


class _Parameter(NamedTuple):
    """Stands in a query for a value that each execution supplies by this name."""

    name: str


class Statement(NamedTuple):
    """A statement to prepare once in each session, and to execute with values by name."""

    prepare: str
    execute: str
    """Takes the values as named arguments, `%(name)s`."""


# What varies between two executions, in the order of the prepared statement's parameters.
_PARAMETERS = ("customer_id", "keys", "limit", "offset", "page_end", "max_bytes")


def _value(name: str) -> Value:
    return Value(_Parameter(name), converter=False, unpack=False)


_CUSTOMER = _value("customer_id")
_KEYS = Cast(_value("keys"), "uuid[]")


def _statement(name: str, query: Any) -> Statement:
    context: Any = PostgresqlDatabase(None).get_sql_context()
    sql, parameters = context.sql(query).query()
    numbered = sql % tuple(f"${_PARAMETERS.index(parameter.name) + 1}" for parameter in parameters)
    types = "text, uuid[], bigint, bigint, bigint, bigint"
    arguments = ", ".join(f"%({parameter})s" for parameter in _PARAMETERS)
    return Statement(f"PREPARE {name} ({types}) AS {numbered}", f"EXECUTE {name} ({arguments})")


def _newest_of_each_key(limit: Any) -> Select:
    """The id and time of the `limit` newest events of each search key: that many index entries for each, no sort."""
    wanted = Select(columns=[fn.unnest(_KEYS).alias("key")]).alias("wanted")
    event = AnalyticsEvent.alias("event")
    newest = (
        event.select(event.id, event.created_at)
        .where(event.customer_id == _CUSTOMER, event.search_key == wanted.c.key)
        .order_by(event.created_at.desc(), event.id.desc())
        .limit(limit)
        .alias("newest")
    )
    return Select([Join(wanted, newest, JOIN.LATERAL, on=SQL("true"))], [newest.c.id, newest.c.created_at])


def _page_of(found: Any) -> Any:
    """The ids and times of the page, as a CTE: it is used twice."""
    return (
        Select([found], [found.c.id, found.c.created_at])
        .order_by(found.c.created_at.desc(), found.c.id.desc())
        .limit(_value("limit"))
        .offset(_value("offset"))
        .cte("on_page", columns=("id", "created_at"))
    )


def _events(on_page: Any, total: Any) -> Any:
    """The events of the page, each row the total and the columns of `Found`.

    One statement, so that page and total are of one moment; an outer join, so that the total comes even when the page
    is empty. The text is withheld when the page has more of it than an answer may carry: it must not be fetched first.
    """
    event = AnalyticsEvent.alias("event")
    text = fn.SUM(fn.octet_length(event.message)).over()
    instead = {"message": Case(None, [(text <= _value("max_bytes"), event.message)]).alias("message")}
    rows = (
        event.select(event.id, *[instead.get(name, getattr(event, name)) for name in Found._fields])
        .join(on_page, on=(event.id == on_page.c.id))
        .where(event.customer_id == _CUSTOMER)
        .alias("rows")
    )
    as_text = {name: _time_text(rows.c[name]) for name in ("created_at", "updated_at")}
    answer = [as_text.get(name, rows.c[name]) for name in Found._fields]
    return Select(
        [Join(total, rows, JOIN.LEFT_OUTER, on=SQL("true"))],
        [total.c.total, *answer],
    ).order_by(rows.c.created_at.desc(), rows.c.id.desc())


def _time_text(instant: Any) -> Any:
    """A time as `Event.created_at` has it; sessions are in UTC."""
    return fn.to_char(instant, SQL(f"'{TIME_FORMAT}'"))


def _all() -> Statement:
    on_page = _page_of(_newest_of_each_key(_value("page_end")).alias("found"))
    event = AnalyticsEvent.alias("event")
    count = event.select(fn.COUNT(SQL("*"))).where(event.customer_id == _CUSTOMER, event.search_key == fn.ANY(_KEYS))
    listed = Select([on_page], [fn.COUNT(SQL("*")).alias("listed")]).alias("page")
    # A page that is not full, and not past the end, has the last event on it: the total is known without a count.
    is_last = (listed.c.listed < _value("limit")) & ((listed.c.listed > SQL("0")) | (_value("offset") == SQL("0")))
    total = Select([listed], [Case(None, [(is_last, _value("offset") + listed.c.listed)], count).alias("total")])
    return _statement("find_all", _events(on_page, total.alias("total")).with_cte(on_page))


def _latest() -> Statement:
    found = _newest_of_each_key(SQL("1")).cte("found", columns=("id", "created_at"))
    on_page = _page_of(found)
    total = Select([found], [fn.COUNT(SQL("*")).alias("total")]).alias("total")
    return _statement("find_latest", _events(on_page, total).with_cte(found, on_page))


ALL = _all()
"""Always returns at least one row. `limit`, `offset` and `page_end`, their sum, are in events."""

LATEST = _latest()
"""Takes the same values and keeps the newest event of each key."""

SESSION = {
    # A plan by the structure of the statement alone: the indexes, by nested loops. It is right at any size of table,
    # and statistics that are out of date, or that know nothing of the values, cannot mislead it to a worse one.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
"""The settings of a session that executes them."""
