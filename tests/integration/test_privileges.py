"""What migrations grant to the server's role, whoever owns the database."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import peewee
import psycopg2.extensions
import pytest

from storage.migrate import main
from storage.schema import migrate
from tests.support.database import execute, query
from tests.support.in_process import running_server
from tests.support.postgres import make_passable
from tests.support.processes import free_port, run_module
from tests.support.requests import lead_event


class Roles:
    """A database whose owner may do nothing else, and the name of a role for its servers, which does not exist."""

    def __init__(self, superuser: str) -> None:
        self.superuser = superuser
        self.name = f"r_{uuid.uuid4().hex}"
        self.server_role = f'The "servers" of {self.name}'[:63]
        self.quoted = '"' + self.server_role.replace('"', '""') + '"'
        self.owner = psycopg2.extensions.make_dsn(superuser, user=self.name, dbname=self.name)

    def grants(self) -> list[Any]:
        """Return what the server's role may do with which table."""
        return query(
            psycopg2.extensions.make_dsn(self.superuser, dbname=self.name),
            "SELECT relname::text, privilege_type FROM pg_class, aclexplode(relacl) JOIN pg_roles r ON r.oid = grantee"
            " WHERE rolname = %s ORDER BY 1, 2",
            self.server_role,
        )


GRANTS = [
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


@pytest.fixture
def roles(database_url: str) -> Iterator[Roles]:
    roles = Roles(database_url)
    execute(database_url, f"CREATE ROLE {roles.name} LOGIN")
    execute(database_url, f"CREATE DATABASE {roles.name} OWNER {roles.name}")
    yield roles
    execute(database_url, f"DROP DATABASE {roles.name} WITH (FORCE)")
    execute(database_url, f"DROP ROLE {roles.name}")
    execute(database_url, f"DROP ROLE IF EXISTS {roles.quoted}")


def test_the_role_is_created_and_granted_what_it_needs(roles: Roles) -> None:
    execute(roles.superuser, f"ALTER ROLE {roles.name} CREATEROLE")
    migrate(roles.owner, roles.server_role)
    assert roles.grants() == GRANTS
    (login,) = query(roles.superuser, "SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", roles.server_role)
    assert login == (False,)
    assert migrate(roles.owner, roles.server_role) == []
    assert roles.grants() == GRANTS


def test_an_owner_who_may_not_create_roles_is_told_what_to_run(
    roles: Roles, capsys: pytest.CaptureFixture[str]
) -> None:
    environment = {"DATABASE_URL": roles.owner, "SERVER_ROLE": roles.server_role}
    assert main([], environment) == 0
    applied, advice = capsys.readouterr().err.splitlines()
    assert applied.startswith("applied 0001_analytics_event")
    assert advice.endswith(f"have an administrator execute CREATE ROLE {roles.quoted}, then migrate again")
    assert roles.grants() == []

    execute(roles.superuser, f"CREATE ROLE {roles.quoted}")
    assert main([], environment) == 0
    assert capsys.readouterr().err == "nothing to migrate\n"
    assert roles.grants() == GRANTS


def test_a_server_works_as_a_member_of_the_role(roles: Roles) -> None:
    execute(roles.superuser, f"CREATE ROLE {roles.quoted}")
    migrate(roles.owner, roles.server_role)
    member = f"m_{uuid.uuid4().hex}"
    execute(roles.superuser, f"CREATE ROLE {member} LOGIN IN ROLE {roles.quoted}")
    try:
        url = psycopg2.extensions.make_dsn(roles.owner, user=member)
        with running_server(url) as server:
            answer = server.client.leads.CreateLeadAnalyticsEvent(lead_event("privileges"), timeout=5)
        assert answer.partition_key
    finally:
        execute(roles.superuser, f"DROP ROLE {member}")


def test_another_role_than_the_owner_can_migrate_if_nothing_is_to_do(roles: Roles) -> None:
    execute(roles.superuser, f"CREATE ROLE {roles.quoted} LOGIN")
    migrate(roles.owner, roles.server_role)
    server = psycopg2.extensions.make_dsn(roles.owner, user=roles.server_role)
    assert migrate(server, roles.server_role) == []


def test_another_role_than_the_owner_cannot_create_the_tables(roles: Roles) -> None:
    execute(roles.superuser, f"CREATE ROLE {roles.quoted} LOGIN")
    server = psycopg2.extensions.make_dsn(roles.owner, user=roles.server_role)
    with pytest.raises(peewee.ProgrammingError, match="permission denied"):
        migrate(server, roles.server_role)
    assert main([], {"OWNER_DATABASE_URL": server}) == 1


def test_the_owners_url_is_the_one_that_migrates(roles: Roles, capsys: pytest.CaptureFixture[str]) -> None:
    execute(roles.superuser, f"CREATE ROLE {roles.quoted} LOGIN")
    server = psycopg2.extensions.make_dsn(roles.owner, user=roles.server_role)
    environment = {"DATABASE_URL": server, "OWNER_DATABASE_URL": roles.owner, "SERVER_ROLE": roles.server_role}
    assert main([], environment) == 0
    assert "applied" in capsys.readouterr().err
    assert main([], {"OWNER_DATABASE_URL": "nonsense"}) == 2
    assert capsys.readouterr().err.startswith("OWNER_DATABASE_URL is malformed")


def test_a_server_without_its_privileges_does_not_start(roles: Roles) -> None:
    migrate(roles.owner, roles.server_role)
    execute(roles.superuser, f"CREATE ROLE {roles.quoted} LOGIN")
    url = psycopg2.extensions.make_dsn(roles.owner, user=roles.server_role)
    worker = run_module("server", DATABASE_URL=url, GRPC_PORT=str(free_port()))
    assert worker.returncode == 2
    (line,) = worker.stderr.splitlines()
    assert line.startswith(f"DATABASE_URL: the role {roles.server_role} lacks SELECT on analytics_event, INSERT on")
    assert "storage.migrate" in line


@pytest.mark.parametrize("module", ["server", "server.stack"])
def test_a_role_that_only_lacks_the_membership_is_told_so(roles: Roles, tmp_path: Path, module: str) -> None:
    make_passable(tmp_path)
    other = f"m_{uuid.uuid4().hex}"
    execute(roles.superuser, f"CREATE ROLE {roles.quoted}")
    execute(roles.superuser, f"CREATE ROLE {other} LOGIN")
    migrate(roles.owner, roles.server_role)
    try:
        ended = run_module(
            module,
            DATABASE_URL=psycopg2.extensions.make_dsn(roles.owner, user=other),
            OWNER_DATABASE_URL=roles.owner,
            SERVER_ROLE=roles.server_role,
            DATA_DIR=str(tmp_path / "data"),
            GRPC_PORT=str(free_port()),
            HTTP_PORT=str(free_port()),
            METRICS_PORT="off",
            WORKERS="1",
        )
    finally:
        execute(roles.superuser, f"DROP ROLE {other}")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    line = ended.stderr.splitlines()[-1]
    assert f'GRANT {roles.quoted} TO "{other}"' in line
    assert f"SERVER_ROLE={other} python -m storage.migrate" in line


def test_databases_that_are_migrated_at_the_same_time_share_a_new_role(roles: Roles) -> None:
    others = [f"{roles.name}_{number}" for number in range(4)]
    for other in others:
        execute(roles.superuser, f"CREATE DATABASE {other}")
    urls = [psycopg2.extensions.make_dsn(roles.superuser, dbname=other) for other in others]
    try:
        with ThreadPoolExecutor() as migrations:
            applied = list(migrations.map(lambda url: migrate(url, roles.server_role), urls))
        assert all(applied)
        for url in urls:
            assert query(url, "SELECT has_table_privilege(%s, 'analytics_event', 'INSERT')", roles.server_role) == [
                (True,)
            ]
    finally:
        for other in others:
            execute(roles.superuser, f"DROP DATABASE {other} WITH (FORCE)")
