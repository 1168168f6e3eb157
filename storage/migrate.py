"""`python -m storage.migrate`: apply the pending migrations, and grant the server's role what it needs.

The database is OWNER_DATABASE_URL, as the owner of the tables, or DATABASE_URL if that is not set.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

import peewee

from storage.errors import DatabaseUnavailable, UnfitDatabase
from storage.owner_url import read_owner_url
from storage.privileges import SERVER_ROLE, quote
from storage.schema import count_events, describe_pending, has_role, migrate


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Apply the pending migrations, print what was done, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m storage.migrate",
        description="Apply the pending migrations, and grant the server's role what it needs.",
        epilog="The database is OWNER_DATABASE_URL, as the owner of its tables, or else DATABASE_URL.",
        allow_abbrev=False,
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what there is to do, and what it costs")
    options = parser.parse_args(arguments)
    try:
        variable, url = read_owner_url(environment)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    role = environment.get("SERVER_ROLE") or SERVER_ROLE
    try:
        if options.dry_run:
            _describe(url)
            return 0
        applied = migrate(url, role, lambda line: print(line, file=sys.stderr, flush=True))
        is_known = has_role(url, role)
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


def _describe(url: str) -> None:
    """Print what is pending."""
    pending = describe_pending(url)
    for name, text in pending:
        print(f"{name}: {text.strip()}\n")
    events = f"the table has about {count_events(url):,} events"
    print(f"to apply: {', '.join(name for name, _ in pending)}; {events}" if pending else "nothing to migrate")


if __name__ == "__main__":
    sys.exit(main())
