"""What the server's role may do in the database: store events and read them, keep refusals, and nothing else."""

import contextlib
import shlex
from typing import Any

import peewee

from storage.errors import PrivilegesMissing

SERVER_ROLE = "analytics_server"
"""The default name of the server's role."""

# A server that starts reads which migrations have been applied.
_NEEDED = (
    ("SELECT", "analytics_event"),
    ("INSERT", "analytics_event"),
    ("SELECT", "schema_migration"),
    ("SELECT", "access_key"),
    ("SELECT", "access_rate"),
    ("INSERT", "access_rate"),
    ("UPDATE", "access_rate"),
    ("SELECT", "erasure"),
    ("SELECT", "erased_key"),
    ("SELECT", "blocked_user"),
    ("SELECT", "refusal"),
    ("INSERT", "refusal"),
    ("DELETE", "refusal"),
    ("SELECT", "summary_day"),
    ("INSERT", "summary_day"),
    ("UPDATE", "summary_day"),
    ("SELECT", "list_segment"),
    ("INSERT", "list_segment"),
    ("UPDATE", "list_segment"),
    ("DELETE", "list_segment"),
)

# Of one column: when a key was last used.
_NEEDED_OF_COLUMNS = (("UPDATE", "last_used_at", "access_key"),)

FUNCTIONS = (
    "begin_erasure(text, uuid, boolean, text, text, text, timestamptz, boolean, text, uuid)",
    "erase_step(text, uuid, text, int)",
    "forget_erased_keys(text, uuid, int)",
)
"""What deletes events, within bounds that only the owner can change."""

_LACKING = """
SELECT privilege, 'TABLE ' || relation FROM unnest(%s, %s) AS needed (privilege, relation)
WHERE NOT has_table_privilege(%s, to_regclass(relation), privilege)
UNION ALL
SELECT privilege || ' (' || name || ')', 'TABLE ' || relation
FROM unnest(%s, %s, %s) AS needed (privilege, name, relation)
WHERE NOT has_column_privilege(%s, to_regclass(relation), name, privilege)
UNION ALL
SELECT 'EXECUTE', 'FUNCTION ' || name FROM unnest(%s) AS function (name)
WHERE NOT has_function_privilege(%s, to_regprocedure(name), 'EXECUTE')
"""

_GRANTEES = """
SELECT rolname::text FROM pg_class, aclexplode(relacl) JOIN pg_roles ON pg_roles.oid = grantee
WHERE pg_class.oid = to_regclass('analytics_event') AND privilege_type = 'INSERT' AND grantee <> relowner ORDER BY 1
"""

_OPEN = "SELECT name FROM unnest(%s) AS function (name) WHERE has_function_privilege('public', name, 'EXECUTE')"

_MAY_GRANT = """
SELECT pg_has_role(current_user, relowner, 'USAGE') FROM pg_class WHERE oid = 'analytics_event'::regclass
"""
_SCHEMA = """
SELECT relnamespace::regnamespace::text FROM pg_class
WHERE oid = 'analytics_event'::regclass AND NOT has_schema_privilege(%s, relnamespace, 'USAGE')
"""


def grant_privileges(database: Any, role: str) -> None:
    """Grant the server's role what it needs, and nobody else what erases events. Create the role if it is missing.

    Does nothing if the current role does not own the events table, or if it may not create the missing role. Grants
    only what is missing: the nodes of a cluster that are not its coordinator take no grants.

    Args:
        database: a Peewee database that is in a transaction.
        role: the name of the server's role.

    Raises:
        peewee.DatabaseError: PostgreSQL refuses a grant.
    """
    (is_owner,) = database.execute_sql(_MAY_GRANT).fetchone()
    if not is_owner:
        return
    # Everybody may execute a function that is new, such as one that was restored without its privileges.
    for (function,) in database.execute_sql(_OPEN, (list(FUNCTIONS),)).fetchall():
        database.execute_sql(f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
    name = quote(role)
    if not role_exists(database, role):
        # Refused: by privileges, or because another database of the same PostgreSQL is being migrated at the same time.
        with contextlib.suppress(peewee.ProgrammingError, peewee.IntegrityError), database.atomic():
            database.execute_sql(f"CREATE ROLE {name} NOLOGIN")
    if role_exists(database, role):
        for (schema,) in database.execute_sql(_SCHEMA, (role,)).fetchall():
            database.execute_sql(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
        for privilege, target in _find_lacking(database, role):
            database.execute_sql(f"GRANT {privilege} ON {target} TO {name}")


def check_privileges(database: Any) -> None:
    """Raise PrivilegesMissing if the current role lacks what the server's role needs on the tables that exist."""
    (role,) = database.execute_sql("SELECT current_user").fetchone()
    if lacking := _find_lacking(database, role):
        for (other,) in database.execute_sql(_GRANTEES).fetchall():
            if not _find_lacking(database, other):
                raise PrivilegesMissing(
                    f"the role {role} is not a member of {other}, which has all privileges: have an administrator "
                    f"execute GRANT {quote(other)} TO {quote(role)}, or run `SERVER_ROLE={shlex.quote(role)} python -m "
                    "storage.migrate` as the owner of the tables"
                )
        names = [f"{privilege} on {target.partition(' ')[2]}" for privilege, target in lacking]
        raise PrivilegesMissing(
            f"the role {role} lacks {', '.join(names)}: run `python -m storage.migrate` as the owner of the tables"
        )


def _find_lacking(database: Any, role: str) -> list[tuple[str, str]]:
    """Return each privilege that a role needs and lacks, and on what, as GRANT names it."""
    of_tables = [list(each) for each in zip(*_NEEDED, strict=True)]
    of_columns = [list(each) for each in zip(*_NEEDED_OF_COLUMNS, strict=True)]
    values = [*of_tables, role, *of_columns, role, list(FUNCTIONS), role]
    return list(database.execute_sql(_LACKING, values).fetchall())


def quote(name: str) -> str:
    """Return a name as it stands in a statement."""
    return '"' + name.replace('"', '""') + '"'


def role_exists(database: Any, role: str) -> bool:
    """Return whether PostgreSQL knows a role of that name."""
    return bool(database.execute_sql("SELECT FROM pg_roles WHERE rolname = %s", (role,)).rowcount)
