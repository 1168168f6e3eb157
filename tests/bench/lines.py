"""Events that differ as those of a customer do, ready for COPY: far faster than by way of `Event`."""

import io
import itertools
import random
from collections.abc import Iterable, Iterator

import psycopg2.extensions

from storage.event import Event, format_time
from storage.ids import make_bound
from storage.model import make_search_key
from storage.rows import COPY_STATEMENT, encode_row

# How many users, recordings and entities a customer has.
_DIFFERENT = {"005{:015}": 300, "rec-{}": 400, "00Q{:015}": 20_000}
_ROWS_A_COMMIT = 10_000


class Lines:
    """Makes lines, by chance."""

    def __init__(self, chance: random.Random) -> None:
        """Prepare the parts that are the same in many events."""
        self._chance = chance
        self._templates = list(_make_templates(chance))

    def make(self, customer: str, milliseconds: int, number: int, user: str = "") -> bytes:
        """Return the line of an event.

        Args:
            customer: whose.
            milliseconds: when, since the epoch.
            number: no other event of that time has it.
            user: who, or "" for one of the customer's users.
        """
        chance = self._chance
        # Some far more often than others.
        one, recording, entity = (form.format(int(most * chance.random() ** 2)) for form, most in _DIFFERENT.items())
        line = self._templates[chance.randrange(len(self._templates))].format(
            customer=customer,
            user=user or one,
            recording=recording,
            entity=entity,
            id=f"{make_bound(milliseconds)[:14]}7{chance.getrandbits(12):03x}-8000-{number:012x}",
            time=format_time(milliseconds),
            key=make_search_key("lead", entity, user or one, recording),
        )
        return line.encode()


def _make_templates(chance: random.Random) -> Iterator[str]:
    """Yield lines for COPY in which the ids, the time and the search key are missing, each as often as it happens."""
    types = ("view", "view", "view", "view", "share", "open", "open", "dismiss", "rate")
    for event_type, tool in itertools.product(types, range(8)):
        ids = ("{customer}", "{user}", "{recording}", event_type, "lead", "{entity}", f"tool-{tool}", "view-{entity}")
        message = "looked at the recommendation " * chance.randrange(4, 10)
        clocks = ("Fri Nov 02 2018 13:12:04 GMT+0100", "2018-11-02 13:12:04")
        texts = (*ids, message, *clocks, f"/apex/Recommendations?step={tool}", "parse-1", "model-1", "")
        versions = '{"package":"1.4.2","build":7}' if tool % 2 else None
        line = encode_row(Event(*texts, versions, "{id}", "{time}", "{time}")).line.decode()
        values, _, _ = line.replace('{"', '{{"').replace("7}", "7}}").rpartition("\t")
        yield f"{values}\t{{key}}\n"


def store(connection: psycopg2.extensions.connection, lines: Iterable[bytes]) -> None:
    """Store events, then vacuum and analyse the table, as autovacuum would after a while."""
    rows = iter(lines)
    with connection.cursor() as cursor:
        while batch := b"".join(itertools.islice(rows, _ROWS_A_COMMIT)):
            cursor.copy_expert(COPY_STATEMENT, io.BytesIO(batch), size=1 << 20)
        cursor.execute("VACUUM ANALYZE analytics_event")
        cursor.execute("CHECKPOINT")  # Or it would be written out while the first round is measured.
