"""`python -m storage.migrate`: apply the pending migrations, and grant the server's role what it needs.

The database is OWNER_DATABASE_URL, as the owner of the tables, or DATABASE_URL if that is not set.
"""

import os
import sys
from collections.abc import Mapping

import peewee

from storage.connection import check_url
from storage.errors import DatabaseUnavailable, UnfitDatabase
from storage.privileges import SERVER_ROLE, quote
from storage.schema import has_role, migrate


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Apply the pending migrations, print what was done, and return the exit status."""
    variable = "OWNER_DATABASE_URL" if environment.get("OWNER_DATABASE_URL") else "DATABASE_URL"
    url = environment.get(variable, "")
    role = environment.get("SERVER_ROLE") or SERVER_ROLE
    if not url:
        print("DATABASE_URL is not set: it names the database to migrate", file=sys.stderr)
        return 2
    try:
        check_url(url)
        applied = migrate(url, role)
        is_known = has_role(url, role)
    except ValueError as error:
        print(f"{variable} is malformed: {error}", file=sys.stderr)
        return 2
    except DatabaseUnavailable as error:
        print(f"{variable}: the database cannot be reached: {error}", file=sys.stderr)
        return 1
    except UnfitDatabase as error:
        print(f"{variable}: the database cannot be used: {error}", file=sys.stderr)
        return 2
    except peewee.DatabaseError as error:
        reason = str(error).strip().splitlines()[0]
        print(f"{variable}: the schema cannot be migrated: {reason}", file=sys.stderr)
        return 1
    print(f"applied {', '.join(applied)}" if applied else "nothing to migrate", file=sys.stderr)
    if not is_known:
        print(
            f"the role {role} does not exist, and this one may not create it: to run servers that can do no more than "
            f"they need, have an administrator execute CREATE ROLE {quote(role)}, then migrate again",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
