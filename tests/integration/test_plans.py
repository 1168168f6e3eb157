"""The plans of the searches on a table with skewed data: what they read must not grow with the table."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from storage.connection import connect
from storage.model import make_search_key
from storage.schema import migrate
from storage.search_sql import ALL, LATEST, SESSION, Statement
from tests.bench.seed import seed
from tests.support.database import execute

EVENTS = 30_000

# A cursor, and the customer, entity and user that have the most events together.
Busiest = tuple[Any, str, tuple[str, str, str]]


@pytest.fixture(scope="session")
def busiest(database_url: str) -> Iterator[Busiest]:
    """Yield a cursor on a database of 30,000 events, and what most of them are about."""
    url = database_url.replace("/analytics?", "/plans?")
    execute(database_url, "CREATE DATABASE plans")
    migrate(url)
    with contextlib.closing(connect(url, "plans", {})) as connection:
        seed(connection, EVENTS)
    with contextlib.closing(connect(url, "plans", SESSION)) as connection, connection.cursor() as cursor:
        cursor.execute(ALL.prepare)
        cursor.execute(LATEST.prepare)
        columns = "customer_id, entity_type, entity_id, user_id"
        cursor.execute(f"SELECT {columns} FROM analytics_event GROUP BY {columns} ORDER BY count(*) DESC LIMIT 1")
        customer, *others = cursor.fetchone() or ()
        yield cursor, customer, (others[0], others[1], others[2])


def walk_nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from walk_nodes(child)


def explain(busiest: Busiest, statement: Statement, recordings: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the nodes of the executed plan for a page of 10, and what the statement answers."""
    cursor, customer, others = busiest
    keys = [make_search_key(*others, f"recording-{number}") for number in range(1, recordings + 1)]
    sql = statement.execute.format(keys=",".join(keys), limit=10, offset=0, page_end=10, max_bytes=1 << 24)
    cursor.execute(sql, (customer,))
    answer = cursor.fetchone()
    cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql, (customer,))
    ((((plan,),),),) = [cursor.fetchall()]
    return list(walk_nodes(plan["Plan"])), {"total": answer[0]}


@pytest.mark.parametrize("recordings", [1, 500])
@pytest.mark.parametrize("statement", [ALL, LATEST], ids=["all", "latest"])
def test_a_search_reads_indexes_and_sorts_at_most_a_page_a_recording(
    busiest: Busiest, statement: Statement, recordings: int
) -> None:
    plan, answer = explain(busiest, statement, recordings)
    assert answer["total"] >= (100 if statement is ALL else 1)
    scans = [node for node in plan if "Relation Name" in node]
    assert {node["Node Type"] for node in scans} == {"Index Only Scan", "Index Scan"}
    for node in scans:
        # The table's rows are read for the page alone; everything else comes from the search index.
        if node["Node Type"] == "Index Scan":
            assert "id = " in node["Index Cond"]
            assert node.get("Rows Removed by Filter", 0) == 0
            assert node["Actual Rows"] * node["Actual Loops"] <= 10
        else:
            assert node["Index Name"] == "analytics_event_search"
            assert node["Heap Fetches"] == 0
    for node in plan:
        if node["Node Type"] == "Sort":
            source = next(child for child in node["Plans"] if child["Parent Relationship"] == "Outer")
            assert source["Actual Rows"] * source["Actual Loops"] <= 10 * recordings


def test_a_page_that_is_not_full_is_not_counted(busiest: Busiest) -> None:
    cursor, customer, others = busiest
    key, limit = make_search_key(*others, "recording-1"), 1_000_000
    sql = ALL.execute.format(keys=key, limit=limit, offset=0, page_end=limit, max_bytes=1 << 40)
    cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql, (customer,))
    ((((plan,),),),) = [cursor.fetchall()]
    (count,) = [
        node
        for node in walk_nodes(plan["Plan"])
        if node.get("Parent Relationship") == "InitPlan" and node["Node Type"] == "Aggregate"
    ]
    assert count["Actual Loops"] == 0
