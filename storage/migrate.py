"""`python -m storage.migrate`: apply the pending migrations to DATABASE_URL."""

import os
import sys

import peewee

from storage.connection import check_url
from storage.errors import DatabaseUnavailable
from storage.schema import migrate


def main() -> int:
    """Apply the pending migrations, print one line about it, and return the exit status."""
    url = os.environ.get("DATABASE_URL", "")
    if not url:
        print("DATABASE_URL is not set: it names the database to migrate", file=sys.stderr)
        return 2
    try:
        check_url(url)
        applied = migrate(url)
    except ValueError as error:
        print(f"DATABASE_URL is malformed: {error}", file=sys.stderr)
        return 2
    except DatabaseUnavailable as error:
        print(f"DATABASE_URL: the database cannot be reached: {error}", file=sys.stderr)
        return 1
    except peewee.DatabaseError as error:
        reason = str(error).strip().splitlines()[0]
        print(f"DATABASE_URL: the schema cannot be migrated: {reason}", file=sys.stderr)
        return 1
    print(f"applied {', '.join(applied)}" if applied else "nothing to migrate", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
