"""`python -m storage.erase`: erase events, show receipts, and erase again what a restored backup has brought back.

The database is OWNER_DATABASE_URL, as the owner of the tables, or DATABASE_URL if that is not set. What is printed to
standard output is one receipt a line, as JSON.
"""

import argparse
import contextlib
import json
import os
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg2
import psycopg2.extensions
import uuid_utils

from storage.connection import connect
from storage.copier import SESSION
from storage.erasure import (
    BEGIN,
    FIND,
    FIND_OF_CUSTOMER,
    FIND_SINCE,
    RETENTION,
    STEP,
    STEP_EVENTS,
    Erasure,
    Receipt,
    make_values,
)
from storage.errors import DatabaseUnavailable
from storage.owner_url import read_owner_url

_EXAMPLES = """\
examples:
  python -m storage.erase events --customer acme --user u-17 --block-later --by "ticket 4711"
  python -m storage.erase receipts --since 2026-01-01 > receipts.jsonl
  python -m storage.erase again < receipts.jsonl
"""

# Between two looks at an erasure that a server works on.
_WAIT_SECONDS = 0.5


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the command line and return the exit status."""
    options = _parse(arguments)
    try:
        variable, url = read_owner_url(environment)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        with contextlib.closing(connect(url, "analytics erase", SESSION)) as connection:
            options.run(connection, options)
    except _NotAReceipt as error:
        print(f"standard input, line {error}: this is not a receipt", file=sys.stderr)
        return 2
    except DatabaseUnavailable as error:
        print(f"{variable}: the database cannot be reached: {error}", file=sys.stderr)
        return 1
    except psycopg2.Error as error:
        print(f"{variable}: the database refused: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return 1
    return 0


def erase_events(connection: psycopg2.extensions.connection, options: argparse.Namespace) -> None:
    """Erase what the options name, and print the receipt once it is done."""
    before = options.before or ""
    if options.older_than_days:
        before = (datetime.now(UTC) - timedelta(days=options.older_than_days)).isoformat()
    entity_type, entity_id = options.entity or ("", "")
    erasure = Erasure(
        options.customer, options.all, options.user or "", entity_type, entity_id, before, options.block_later
    )
    receipt_id = str(uuid_utils.uuid7())
    _begin(connection, erasure, receipt_id, options.by)
    _print(_finish(connection, erasure.customer_id, receipt_id))


def list_receipts(connection: psycopg2.extensions.connection, options: argparse.Namespace) -> None:
    """Print the receipts of a customer, or those of erasures that were not finished before a time."""
    if options.customer:
        rows = _execute(connection, FIND_OF_CUSTOMER, [options.customer])
    else:
        rows = _execute(connection, FIND_SINCE, [options.since or "-infinity"])
    for row in rows:
        _print(Receipt._make(row))


def erase_again(connection: psycopg2.extensions.connection, _: argparse.Namespace) -> None:
    """Carry out the erasures of the receipts on standard input that the database does not have."""
    receipts = [receipt for receipt in _read_receipts() if receipt.requested_by != RETENTION]  # Servers see to that.
    if not receipts:
        print("nothing to do: standard input has no receipts but those of the retention, if any", file=sys.stderr)
    for receipt in receipts:
        erasure = Erasure(*[getattr(receipt, name) for name in Erasure._fields])
        # Not what came in after the first time.
        _begin(connection, erasure, receipt.id, receipt.requested_by, receipt.until_id)
    for receipt in receipts:
        _print(_finish(connection, receipt.customer_id, receipt.id))


class _NotAReceipt(Exception):
    """A line that is not a receipt, by its number."""


def _read_receipts() -> list[Receipt]:
    receipts = []
    for number, line in enumerate(sys.stdin, 1):
        try:
            receipts.append(Receipt(**json.loads(line)))
        except (ValueError, TypeError):
            raise _NotAReceipt(number) from None
    return receipts


def unblock_user(connection: psycopg2.extensions.connection, options: argparse.Namespace) -> None:
    """Accept the events of a user again."""
    values = [options.customer, options.user]
    unblocked = _execute(
        connection, "DELETE FROM blocked_user WHERE customer_id = %s AND user_id = %s RETURNING user_id", values
    )
    print("unblocked, within 5 s on all workers" if unblocked else "the user was not blocked", file=sys.stderr)


def _begin(
    connection: psycopg2.extensions.connection, erasure: Erasure, receipt_id: str, requested_by: str, up_to: str = ""
) -> None:
    _execute(connection, BEGIN, make_values(erasure, receipt_id, requested_by, up_to))


def _finish(connection: psycopg2.extensions.connection, customer_id: str, receipt_id: str) -> Receipt:
    """Work on an erasure until it is finished, and return its receipt."""
    worker = str(uuid.uuid4())
    while True:
        ((erased, is_finished),) = _execute(connection, STEP, (customer_id, receipt_id, worker, STEP_EVENTS))
        if erased is None:  # A server works on it, or has done so, or the time at which it begins has not come.
            (row,) = _execute(connection, FIND, (customer_id, receipt_id))
            is_finished = bool(Receipt._make(row).finished_at)
            time.sleep(0 if is_finished else _WAIT_SECONDS)
        if is_finished:
            (row,) = _execute(connection, FIND, (customer_id, receipt_id))
            return Receipt._make(row)


def _execute(connection: psycopg2.extensions.connection, sql: str, values: Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall() if cursor.description else []


def _print(receipt: Receipt) -> None:
    print(json.dumps(receipt._asdict(), ensure_ascii=False), flush=True)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m storage.erase",
        description="Erase events, and show what was erased.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    events = commands.add_parser("events", help="erase events of one customer", allow_abbrev=False)
    events.set_defaults(run=erase_events)
    events.add_argument("--customer", required=True, type=_text, metavar="ID")
    what = events.add_mutually_exclusive_group(required=True)
    what.add_argument("--all", action="store_true", help="all events of the customer")
    what.add_argument("--user", type=_text, metavar="ID", help="the events of this user")
    what.add_argument(
        "--entity", nargs=2, type=_text, metavar=("lead|contact", "ID"), help="the events about this entity"
    )
    what.add_argument("--older-than-days", type=_days, metavar="N", help="the events older than so many days")
    what.add_argument("--before", type=_time, metavar="TIME", help="the events created before this time")
    events.add_argument("--block-later", action="store_true", help="refuse what comes in later for the user")
    events.add_argument("--by", default="operator", type=_text, help="who asks for it, for the receipt")

    receipts = commands.add_parser("receipts", help="print receipts", allow_abbrev=False)
    receipts.set_defaults(run=list_receipts)
    receipts.add_argument("--customer", default="", metavar="ID", help="of this customer alone")
    receipts.add_argument("--since", type=_time, metavar="TIME", help="of what was not finished before this time")

    again = commands.add_parser("again", help="erase what the receipts on standard input say", allow_abbrev=False)
    again.set_defaults(run=erase_again)

    unblock = commands.add_parser("unblock", help="accept the events of a user again", allow_abbrev=False)
    unblock.set_defaults(run=unblock_user)
    unblock.add_argument("--customer", required=True, metavar="ID")
    unblock.add_argument("--user", required=True, metavar="ID")

    options = parser.parse_args(arguments)
    if options.run is erase_events:
        if options.block_later and not options.user:
            parser.error("--block-later is for a --user")
        if options.entity and options.entity[0] not in ("lead", "contact"):
            parser.error("--entity is followed by lead or contact, and then the id")
    return options


def _text(text: str) -> str:
    if not text or len(text) > 255:
        raise argparse.ArgumentTypeError("it must have from 1 to 255 characters")
    return text


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 36_500):
        raise argparse.ArgumentTypeError("it must be a number from 1 to 36500")
    return int(text)


def _time(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("it must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()


if __name__ == "__main__":
    sys.exit(main())
