"""Where the write-ahead log of the primary ended at some moments, by which the age of what a replica has is told.

So no clock is compared with another, and a primary on which nothing happens makes no replica look late.
"""

# At two looks a second: over twice what a replica may be behind.
_KEPT = 24


class Positions:
    """The positions of the last seconds."""

    def __init__(self) -> None:
        self._noted: tuple[tuple[float, int], ...] = ()

    def __bool__(self) -> bool:
        """Return whether any is known."""
        return bool(self._noted)

    def note(self, moment: float, position: int) -> None:
        """Note where the log ended at some moment or later, by the monotonic clock. A position is in bytes."""
        # Replaced, because another thread may read it.
        self._noted = (*self._noted[-_KEPT:], (moment, position))

    def find_age(self, replayed: int, now: float) -> float:
        """Return how old what a replica has is at most, in seconds.

        Args:
            replayed: the position up to which it has replayed the log.
            now: the time, by the monotonic clock.
        """
        moments = [moment for moment, position in self._noted if position <= replayed]
        return now - max(moments) if moments else float("inf")
