"""`python -m storage.distribute`: distribute the tables by customer over the nodes of a Citus cluster.

The database is OWNER_DATABASE_URL, as the owner of the tables, or DATABASE_URL if that is not set: that of the
coordinator. It is safe to repeat, and servers go on meanwhile.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence

import psycopg2

from storage.distribution import SHARDS, distribute
from storage.errors import DatabaseUnavailable, PrivilegesMissing, UnfitDatabase
from storage.owner_url import read_owner_url


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Distribute the tables, print where they then are, and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m storage.distribute",
        description="Distribute the tables by customer over the nodes of a Citus cluster.",
        epilog="The database is the coordinator's: OWNER_DATABASE_URL, as the owner of the tables, or DATABASE_URL.",
        allow_abbrev=False,
    )
    parser.add_argument("--shards", type=_shards, default=SHARDS, metavar="N", help=f"of a table (default: {SHARDS})")
    options = parser.parse_args(arguments)
    try:
        variable, url = read_owner_url(environment)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        done, shares = distribute(url, options.shards, lambda line: print(line, file=sys.stderr, flush=True))
    except DatabaseUnavailable as error:
        print(f"{variable}: the database cannot be reached: {error}", file=sys.stderr)
        return 1
    except (UnfitDatabase, PrivilegesMissing) as error:
        print(f"{variable}: the database cannot be distributed: {error}", file=sys.stderr)
        return 2
    except psycopg2.Error as error:
        reason = str(error).strip().splitlines()[0]
        print(f"{variable}: the database cannot be distributed: {reason}", file=sys.stderr)
        return 1
    print(f"distributed {', '.join(done)}" if done else "nothing to distribute", file=sys.stderr)
    for share in shares:
        print(f"{share.node}: {share.shards} shards, {share.bytes:,} bytes", file=sys.stderr)
    return 0


def _shards(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000):
        raise argparse.ArgumentTypeError("it must be a number from 1 to 1000")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
