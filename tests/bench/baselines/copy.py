"""COPY on one connection, of batches that are ready-made.

`DATABASE_URL=… python -m tests.bench.baselines.copy SECONDS`. It prints a line when its batches are prepared, begins
when it reads a line, prints how many batches it stored in how many seconds, and ends when it reads another line.
"""

import io
import os
import sys
import time

from server.messages.convert import ANALYTICS
from storage import encode_row, make_id_and_time
from storage.connection import connect
from storage.rows import COPY_STATEMENT
from tests.bench.bodies import make_batch

# More than one connection has ever stored in a second. If they do not suffice, it stops early.
_BATCHES_A_SECOND = 200


def prepare(count: int) -> list[bytes]:
    """Return the rows of so many batches, each with an id of its own."""
    rows = [encode_row(ANALYTICS.to_event(event)) for event in make_batch().events]
    templates = [(row.line, row.event.id.encode()) for row in rows]
    return [
        b"".join(line.replace(event_id, make_id_and_time()[0].encode()) for line, event_id in templates)
        for _ in range(count)
    ]


def main(seconds: float) -> None:
    """Prepare, wait, copy, and print the result."""
    batches = prepare(int(seconds * _BATCHES_A_SECOND))
    connection = connect(os.environ["DATABASE_URL"], "bench copy", {})
    with connection.cursor() as cursor:
        cursor.copy_expert(COPY_STATEMENT, io.BytesIO(batches.pop()), size=1 << 20)  # The first one takes longer.
        print("prepared", flush=True)
        sys.stdin.readline()
        start, stored = time.monotonic(), 0
        for batch in batches:
            cursor.copy_expert(COPY_STATEMENT, io.BytesIO(batch), size=1 << 20)
            stored += 1
            if time.monotonic() - start >= seconds:
                break
        print(stored, time.monotonic() - start, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(float(sys.argv[1]))
