"""The statements of the searches: built by Peewee from the model, once, and kept as text.

Building such a query costs Peewee about a millisecond of Python, more than PostgreSQL needs to answer it.
"""

from typing import Any, NamedTuple

from peewee import JOIN, SQL, Case, Cast, Join, PostgresqlDatabase, Select, Value, fn

from storage.event import Event
from storage.model import AnalyticsEvent


class _Parameter(NamedTuple):
    """Stands in a query for a value that each execution supplies by this name."""

    name: str


class Statement(NamedTuple):
    """SQL with %s placeholders, and the names of the values that they take, in order."""

    sql: str
    parameters: list[str]

    def bind(self, values: dict[str, Any]) -> list[Any]:
        """The values in the order of the placeholders."""
        return [values[name] for name in self.parameters]


def _value(name: str) -> Value:
    return Value(_Parameter(name), converter=False, unpack=False)


def _compile(query: Any) -> Statement:
    context: Any = PostgresqlDatabase(None).get_sql_context()
    sql, parameters = context.sql(query).query()
    return Statement(sql, [parameter.name for parameter in parameters])


def _newest_of_each_key(limit: Any) -> Select:
    """The id and time of the `limit` newest events of each search key: that many index entries for each, no sort."""
    wanted = Select(columns=[fn.unnest(Cast(_value("keys"), "uuid[]")).alias("key")]).alias("wanted")
    event = AnalyticsEvent.alias("event")
    newest = (
        event.select(event.id, event.created_at)
        .where(event.customer_id == _value("customer_id"), event.search_key == wanted.c.key)
        .order_by(event.created_at.desc(), event.id.desc())
        .limit(limit)
        .alias("newest")
    )
    return Select([Join(wanted, newest, JOIN.LATERAL, on=SQL("true"))], [newest.c.id, newest.c.created_at])


def _page(found: Any, total: Any) -> Any:
    """One page of `found` (ids and times), each row the columns of `Event` and the total.

    One statement, so that page and total are of one moment; an outer join, so that the total comes even when the page
    is empty. The text is withheld when the page has more of it than an answer may carry: it must not be fetched first.
    """
    on_page = (
        Select([found], [found.c.id, found.c.created_at])
        .order_by(found.c.created_at.desc(), found.c.id.desc())
        .limit(_value("limit"))
        .offset(_value("offset"))
        .alias("on_page")
    )
    event = AnalyticsEvent.alias("event")
    text = fn.SUM(fn.octet_length(event.message)).over()
    instead = {
        "message": Case(None, [(text <= _value("max_bytes"), event.message)]).alias("message"),
        # Up to 16 KiB in each row, and no search answers it.
        "version_info": SQL("NULL").alias("version_info"),
    }
    columns = [instead.get(name, getattr(event, name)) for name in Event._fields]
    rows = (
        event.select(*columns)
        .join(on_page, on=(event.id == on_page.c.id))
        .where(event.customer_id == _value("customer_id"))
        .alias("rows")
    )
    as_text = {
        "id": rows.c.id.cast("text"),
        "created_at": _time_text(rows.c.created_at),
        "updated_at": _time_text(rows.c.updated_at),
    }
    answer = [as_text.get(name, rows.c[name]) for name in Event._fields]
    return Select(
        [Join(total, rows, JOIN.LEFT_OUTER, on=SQL("true"))],
        [total.c.total, *answer],
    ).order_by(rows.c.created_at.desc(), rows.c.id.desc())


def _time_text(instant: Any) -> Any:
    """A time as `Event.created_at` has it; sessions are in UTC."""
    return fn.to_char(instant, SQL('\'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\''))


def _all() -> Statement:
    event = AnalyticsEvent.alias("event")
    total = (
        event.select(fn.COUNT(SQL("*")).alias("total"))
        .where(event.customer_id == _value("customer_id"), event.search_key == fn.ANY(Cast(_value("keys"), "uuid[]")))
        .alias("total")
    )
    return _compile(_page(_newest_of_each_key(_value("page_end")).alias("found"), total))


def _latest() -> Statement:
    found = _newest_of_each_key(SQL("1")).cte("found", columns=("id", "created_at"))
    total = Select([found], [fn.COUNT(SQL("*")).alias("total")]).alias("total")
    return _compile(_page(found, total).with_cte(found))


ALL = _all()
"""Takes customer_id, keys, limit, offset, page_end (their sum) and max_bytes. Always returns at least one row."""

LATEST = _latest()
"""Takes the same values and keeps the newest event of each key."""
