"""Receipts against rows: what was acknowledged is stored, once, whole, and found by a search."""

import contextlib
import json
import urllib.parse
import urllib.request
from collections import Counter
from typing import NamedTuple

import psycopg2

from tests.chaos.load import EVENTS_A_RECORDING, Load
from tests.support.stack import Stack


class Verdict(NamedTuple):
    """The numbers of events of which something is wrong."""

    lost: list[int]
    """Acknowledged and not stored, or not under the id that was told."""
    doubled: list[int]
    """Stored more than once."""
    torn: list[int]
    """Stored other than they were sent."""
    unfound: list[int]
    """Stored and not found by a search, or the other way round."""


def check(stack: Stack, load: Load) -> Verdict:
    """Compares all that `load` was told with all that is there. The load must have ended."""
    with contextlib.closing(psycopg2.connect(stack.database_url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT message::int, id::text, idempotency_key = message AND version_info = jsonb_build_object('number',"
            " message::int) AND recording_id = 'recording-' || message::int / %s AND event_type = 'view'"
            " AND entity_type = 'lead' AND entity_id = 'lead' AND user_id = 'user' AND created_at = updated_at"
            " FROM analytics_event WHERE customer_id = %s",
            (EVENTS_A_RECORDING, load.customer),
        )
        rows = cursor.fetchall()
    stored = {(number, identifier) for number, identifier, _ in rows}
    times = Counter(number for number, _, _ in rows)
    found: list[int] = []
    for recording in range(load.sent // EVENTS_A_RECORDING + 1):
        found += _found(stack, load.customer, f"recording-{recording}")
    return Verdict(
        lost=sorted({receipt.number for receipt in load.receipts if (receipt.number, receipt.id) not in stored}),
        doubled=sorted(number for number, count in times.items() if count > 1),
        torn=sorted(number for number, _, whole in rows if not whole),
        unfound=sorted((Counter(found) - times) + (times - Counter(found))),
    )


def _found(stack: Stack, customer: str, recording: str) -> list[int]:
    """What a search finds of a recording."""
    query = {"customer_id": customer, "user_id": "user", "lead_id": "lead", "recording_id": recording, "pageSize": 1000}
    url = f"http://127.0.0.1:{stack.http_port}/api/v1/lead_analytics/search?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return [int(record["message"]) for record in json.loads(answer.read())["recordings"]]
