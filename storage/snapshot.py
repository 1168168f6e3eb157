"""Which transactions a statement sees: PostgreSQL's snapshots, by which a watch tells what is new.

The ids of events say when they were accepted, not when they were committed, and commits of several writers overlap. A
snapshot says it exactly: an event that one snapshot shows and an earlier one does not was committed between the two. So
each event is new in one interval between consecutive snapshots, and in no other.

A snapshot names transactions, not their savepoints. So nothing may insert an event after a SAVEPOINT, or in a block of
PL/pgSQL that has an EXCEPTION clause: while it is not committed, a watch would take it for one that has been seen.
"""

from typing import NamedTuple


class Snapshot(NamedTuple):
    """A snapshot. Transactions are numbered in the order in which they begin to write."""

    first: int
    """All that have a lower number have ended."""
    next: int
    """No number from this one on is in use."""
    running: tuple[int, ...]
    """The numbers between these of the transactions that have not ended, ascending."""

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """Return the snapshot that the database prints so."""
        first, following, running = text.split(":")
        return cls(int(first), int(following), tuple(map(int, running.split(","))) if running else ())

    def __str__(self) -> str:
        return f"{self.first}:{self.next}:{','.join(map(str, self.running))}"


class WatchPosition(NamedTuple):
    """How far a watch has come. Nothing else is needed to go on without missing an event or repeating one."""

    system: int
    """The system identifier of the database whose snapshots these are, and the number of its table, as one number."""
    timeline: int
    """Its timeline, which changes when a standby takes over."""
    seen: Snapshot
    """All events that this one shows are done with."""
    upto: Snapshot | None
    """What is being gone through: the events that this one shows and `seen` does not."""
    upto_at: int
    """The time of `upto`. All times here are the database's, in milliseconds since the epoch."""
    last_id: str
    """Up to which id these have been gone through, or what is less than that of any of them."""
    floor_at: int
    """No transaction that `seen` does not show began earlier, unless it has been running for minutes."""
    mark_at: int
    """A later time, at which all transactions had lower numbers than `mark`."""
    mark: int
