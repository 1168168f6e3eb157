"""What the server's role may do in the database: store events and read them, and nothing else."""

import contextlib
from typing import Any

import peewee
from psycopg2 import sql

SERVER_ROLE = "analytics_server"
"""The default name of the server's role."""

_MAY_GRANT = """
SELECT pg_has_role(current_user, relowner, 'USAGE'), relnamespace::regnamespace::text
FROM pg_class WHERE oid = 'analytics_event'::regclass
"""


def grant_privileges(database: Any, role: str) -> None:
    """Grant the server's role what it needs, and create the role if it is missing.

    Does nothing if the current role does not own the events table, or if it may not create the missing role.

    Args:
        database: a Peewee database that is connected.
        role: the name of the server's role.

    Raises:
        peewee.DatabaseError: PostgreSQL refuses a grant.
    """
    is_owner, schema = database.execute_sql(_MAY_GRANT).fetchone()
    if not is_owner:
        return
    name = sql.Identifier(role).as_string(database.connection())
    if not role_exists(database, role):
        # Refused: by privileges, or because another database of the same PostgreSQL is being migrated at the same time.
        with contextlib.suppress(peewee.ProgrammingError, peewee.IntegrityError):
            database.execute_sql(f"CREATE ROLE {name} NOLOGIN")
    if role_exists(database, role):
        with database.atomic():
            database.execute_sql(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
            database.execute_sql(f"GRANT SELECT, INSERT ON analytics_event TO {name}")
            # A server that starts reads which migrations have been applied.
            database.execute_sql(f"GRANT SELECT ON schema_migration TO {name}")


def role_exists(database: Any, role: str) -> bool:
    """Return whether PostgreSQL knows a role of that name."""
    return bool(database.execute_sql("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount)
