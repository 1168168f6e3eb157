"""The check after the faults: what was acknowledged is stored, once, as it was sent, and found by a search."""

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
    """The numbers of the events that something is wrong with."""

    lost: list[int]
    """Acknowledged, but not stored under the id of the acknowledgement."""
    duplicated: list[int]
    """Stored more than once."""
    altered: list[int]
    """Stored differently from what was sent."""
    mismatched: list[int]
    """Stored but not found by a search, or found but not stored."""


def check(stack: Stack, load: Load) -> Verdict:
    """Compare every acknowledgement of `load`, which must have ended, with what is stored and found."""
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
        found += _search(stack, load, f"recording-{recording}")
    return Verdict(
        lost=sorted({receipt.number for receipt in load.receipts if (receipt.number, receipt.id) not in stored}),
        duplicated=sorted(number for number, count in times.items() if count > 1),
        altered=sorted(number for number, _, is_as_sent in rows if not is_as_sent),
        mismatched=sorted((Counter(found) - times) + (times - Counter(found))),
    )


def _search(stack: Stack, load: Load, recording: str) -> list[int]:
    """Return the numbers of the events that a search finds in a recording."""
    ids = {"customer_id": load.customer, "user_id": "user", "lead_id": "lead", "recording_id": recording}
    query = {**ids, "pageSize": 1000}
    url = f"http://127.0.0.1:{stack.http_port}/api/v1/lead_analytics/search?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers=load.credentials)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return [int(record["message"]) for record in json.loads(answer.read())["recordings"]]
