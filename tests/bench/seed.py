"""Fill the events table with realistic events: `make seed N=1000000`. See `server.stack.psql` for which database.

A few customers have most events, a few leads most of a customer's, a few recordings most of a lead's. Their times are
spread over the last year. The contents are made once for each kind of event; only ids and times differ within a kind.
"""

import argparse
import io
import itertools
import os
import random
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import psycopg2.extensions

from server.stack.psql import find_url
from storage.connection import connect
from storage.errors import DatabaseUnavailable
from storage.event import Event, format_time
from storage.rows import COPY_STATEMENT, encode_row

ROWS_A_COMMIT = 10_000
YEAR_MILLISECONDS = 365 * 24 * 3600 * 1000

# Placeholders of what differs between two events of one kind.
_ID, _TIME = "00000000-0000-0000-0000-000000000000", "1970-01-01T00:00:00.000Z"


_FIND_ONE = """
SELECT customer_id, entity_id, user_id, recording_id FROM analytics_event
WHERE customer_id = 'customer-1' AND entity_type = 'lead' ORDER BY id DESC LIMIT 1
"""


def make_kinds(count: int, seed: int = 1) -> tuple[list[Event], list[float]]:
    """Return `count` kinds of event, and their cumulative weights: how much more often some happen than others."""
    chance = random.Random(seed)

    def skewed(most: int) -> int:
        return min(int(chance.paretovariate(0.6)), most)

    events = []
    for _ in range(count):
        customer, lead, user = f"customer-{skewed(1_000)}", f"00Q{skewed(50_000):015d}", f"005{skewed(40):015d}"
        entity = chance.choice(("lead", "contact")), lead
        what = f"recording-{skewed(800)}", chance.choice(("view", "share", "dismiss"))
        message = "looked at the recommendation " * chance.randrange(1, 4)
        contents = (
            "vfp",
            f"view#{chance.randrange(10**6)}",
            message,
            "Fri Nov 02 2018 13:12:04 GMT+0100",
            "2018-11-02 13:12",
        )
        path = f"/apex/Recommendations?step={chance.randrange(5)}"
        texts = (customer, user, *what, *entity, *contents, path, "parse-1", "model-1", "")
        events.append(Event(*texts, '{"package":"1.4.2"}', _ID, _TIME, _TIME))
    return events, list(itertools.accumulate(1 / (rank + 10) for rank in range(count)))


def make_rows(count: int, seed: int = 1) -> Iterator[bytes]:
    """Yield `count` lines for `storage.rows.COPY_STATEMENT`, oldest first."""
    events, weights = make_kinds(min(count, 200_000), seed)
    templates = [encode_row(event).line.decode() for event in events]
    chance = random.Random(seed)
    start = int(time.time() * 1000) - YEAR_MILLISECONDS
    for number in range(count):
        if number % ROWS_A_COMMIT == 0:
            chosen = iter(chance.choices(templates, cum_weights=weights, k=ROWS_A_COMMIT))
        milliseconds = start + YEAR_MILLISECONDS * number // count
        clock, noise = f"{milliseconds:012x}", f"{chance.getrandbits(74):019x}"
        event_id = f"{clock[:8]}-{clock[8:]}-7{noise[:3]}-8{noise[3:6]}-{noise[6:18]}"
        yield next(chosen).replace(_ID, event_id).replace(_TIME, format_time(milliseconds)).encode()


def seed(connection: psycopg2.extensions.connection, count: int) -> None:
    """Store `count` events, then vacuum and analyse the table, as autovacuum would after a while."""
    source = make_rows(count)
    with connection.cursor() as cursor:
        while batch := b"".join(itertools.islice(source, ROWS_A_COMMIT)):
            cursor.copy_expert(COPY_STATEMENT, io.BytesIO(batch), size=1 << 20)
        # What is kept of an earlier run lacks these events.
        cursor.execute("TRUNCATE summary_day, list_segment")
        cursor.execute("VACUUM ANALYZE analytics_event")


def main() -> int:
    """Read the command line, fill the table, and print how fast that was."""
    parser = argparse.ArgumentParser(description="Fill the events table with realistic events.")
    parser.add_argument("count", type=int, help="how many events")
    count = parser.parse_args().count
    url = find_url()
    if url is None:
        return 2
    start = time.monotonic()
    try:
        connection = connect(url, "analytics seed", {})
    except DatabaseUnavailable as error:
        print(f"the database cannot be reached: {error}", file=sys.stderr)
        return 1
    seed(connection, count)
    print(f"{count} events, {count / (time.monotonic() - start):.0f} a second")
    with connection.cursor() as cursor:
        cursor.execute(_FIND_ONE)
        if (found := cursor.fetchone()) is not None:
            query = urlencode(dict(zip(("customer_id", "lead_id", "user_id", "recording_id"), found, strict=True)))
            port = os.environ.get("HTTP_PORT") or "8080"
            print(f"to find some of them: curl 'http://localhost:{port}/api/v1/lead_analytics/search?{query}'")
    return 0


if __name__ == "__main__":
    sys.exit(main())
