"""How PostgreSQL goes about the searches, on a table with skewed data: by what must not grow with the table."""

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from storage.connection import connect
from storage.model import search_key
from storage.schema import migrate
from storage.search_sql import ALL, LATEST, SESSION, Statement
from tests.bench.seed import seed

EVENTS = 30_000

# A cursor, the customer who has the most events of one thread of them, and what else makes that thread.
Busiest = tuple[Any, str, tuple[str, str, str]]


@pytest.fixture(scope="session")
def busiest(database_url: str) -> Iterator[Busiest]:
    """A cursor on a database of 30,000 events, and what most of them are about."""
    url = database_url.replace("/analytics?", "/plans?")
    with contextlib.closing(psycopg2.connect(database_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE plans")
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


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def explained(busiest: Busiest, statement: Statement, recordings: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The nodes of the executed plan for a page of 10, and the answer's first row."""
    cursor, customer, others = busiest
    keys = [search_key(*others, f"recording-{number}") for number in range(1, recordings + 1)]
    values = {
        "customer_id": customer,
        "keys": "{" + ",".join(keys) + "}",
        "limit": 10,
        "offset": 0,
        "page_end": 10,
        "max_bytes": 1 << 24,
    }
    cursor.execute(statement.execute, values)
    answer = cursor.fetchone()
    cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + statement.execute, values)
    ((((plan,),),),) = [cursor.fetchall()]
    return list(nodes(plan["Plan"])), {"total": answer[0]}


@pytest.mark.parametrize("recordings", [1, 500])
@pytest.mark.parametrize("statement", [ALL, LATEST], ids=["all", "latest"])
def test_a_search_reads_its_indexes_and_sorts_no_more_than_a_page_for_each_recording(
    busiest: Busiest, statement: Statement, recordings: int
) -> None:
    plan, answer = explained(busiest, statement, recordings)
    assert answer["total"] >= (100 if statement is ALL else 1)
    scans = [node for node in plan if "Relation Name" in node]
    assert {node["Node Type"] for node in scans} == {"Index Only Scan", "Index Scan"}
    for node in scans:
        # Rows of the table are read for the page alone; the rest comes out of the one search index.
        if node["Node Type"] == "Index Scan":
            assert node["Index Name"] == "analytics_event_pkey"
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
    values = {
        "customer_id": customer,
        "keys": "{" + search_key(*others, "recording-1") + "}",
        "limit": 1_000_000,
        "offset": 0,
        "page_end": 1_000_000,
        "max_bytes": 1 << 40,
    }
    cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + ALL.execute, values)
    ((((plan,),),),) = [cursor.fetchall()]
    (count,) = [
        node
        for node in nodes(plan["Plan"])
        if node.get("Parent Relationship") == "InitPlan" and node["Node Type"] == "Aggregate"
    ]
    assert count["Actual Loops"] == 0
