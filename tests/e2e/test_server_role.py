"""What the workers may do in the database."""

import contextlib
from pathlib import Path

import psycopg2
import psycopg2.errors
import pytest

from tests.support.database import AVAILABILITY, execute, query
from tests.support.processes import variables_of
from tests.support.stack import EVENT, WORKERS, Stack, running

CREATE = "/api/v1/lead_analytics"


def test_the_workers_connect_as_the_servers_role(stack: Stack) -> None:
    assert stack.request(CREATE, EVENT) == 201
    sessions = query(
        stack.database_url,
        "SELECT application_name, usename FROM pg_stat_activity WHERE application_name LIKE 'analytics %'",
    )
    assert {AVAILABILITY, "analytics inserter"} <= {name for name, _ in sessions}
    assert {role for _, role in sessions} == {"analytics_server"}
    assert "://analytics_server@" in stack.server_database_url


def test_the_servers_role_may_store_events_and_read_them(stack: Stack) -> None:
    grants = query(
        stack.database_url,
        "SELECT relname::text, privilege_type FROM pg_class, aclexplode(relacl)"
        " WHERE grantee = 'analytics_server'::regrole ORDER BY 1, 2",
    )
    assert grants == [
        ("access_key", "SELECT"),
        ("access_rate", "INSERT"),
        ("access_rate", "SELECT"),
        ("access_rate", "UPDATE"),
        ("analytics_event", "INSERT"),
        ("analytics_event", "SELECT"),
        ("blocked_user", "SELECT"),
        ("erased_key", "SELECT"),
        ("erasure", "SELECT"),
        ("list_segment", "DELETE"),
        ("list_segment", "INSERT"),
        ("list_segment", "SELECT"),
        ("list_segment", "UPDATE"),
        ("refusal", "DELETE"),
        ("refusal", "INSERT"),
        ("refusal", "SELECT"),
        ("schema_migration", "SELECT"),
        ("summary_day", "INSERT"),
        ("summary_day", "SELECT"),
        ("summary_day", "UPDATE"),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE analytics_event SET message = 'altered'",
        "DELETE FROM analytics_event",
        "TRUNCATE analytics_event",
        "SELECT customer_id FROM analytics_event FOR UPDATE",
        "LOCK TABLE analytics_event IN EXCLUSIVE MODE",
        "ALTER TABLE analytics_event ADD COLUMN more text",
        "DROP TABLE analytics_event",
        "CREATE INDEX ON analytics_event (message)",
        "CREATE TRIGGER t BEFORE INSERT ON analytics_event EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "INSERT INTO schema_migration (name, applied) VALUES ('9999', now())",
        "DELETE FROM schema_migration",
        "DELETE FROM erasure",
        "UPDATE erasure SET erased_count = 0",
        "DELETE FROM erased_key",
        "INSERT INTO blocked_user (customer_id, user_id, blocked_at) VALUES ('a', 'b', now())",
        "UPDATE refusal SET omitted = 0",
        "SELECT * FROM secret",
        "CREATE TABLE mine (a int)",
        "CREATE TEMPORARY TABLE mine (a int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "ALTER ROLE analytics_server SUPERUSER",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "COPY analytics_event TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/hostname')",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    ],
)
def test_the_servers_role_may_do_nothing_else(stack: Stack, statement: str) -> None:
    execute(stack.database_url, "CREATE TABLE IF NOT EXISTS secret (word text)")
    with (
        contextlib.closing(psycopg2.connect(stack.database_url)),  # A session of the owner's, to be terminated.
        contextlib.closing(psycopg2.connect(stack.server_database_url)) as connection,
        connection.cursor() as cursor,
    ):
        connection.autocommit = "DATABASE" in statement
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_the_servers_role_may_connect_to_one_database(stack: Stack, database: str) -> None:
    url = psycopg2.extensions.make_dsn(stack.server_database_url, dbname=database)
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(url)


def test_only_migrations_get_the_url_of_the_owner(stack: Stack, tmp_path: Path) -> None:
    urls = {"DATABASE_URL": stack.server_database_url, "OWNER_DATABASE_URL": stack.database_url}
    with running(tmp_path, **urls) as own:
        own.wait_until_up()
        assert own.request(CREATE, EVENT) == 201
        assert (own.server_database_url, own.database_url) == tuple(urls.values())
        workers, envoy = own.numbers_of("server-1"), own.numbers_of("envoy")
        assert len(workers) == WORKERS
        assert len(envoy) == 1
        assert [variables_of(pid) & urls.keys() for pid in workers] == [{"DATABASE_URL"}] * WORKERS
        assert not variables_of(envoy[0]) & urls.keys()
