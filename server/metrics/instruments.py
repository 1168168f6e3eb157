"""Counters and histograms that cost a call next to nothing: plain numbers, which only a scrape turns into text.

Labels are names of our own, of which there are few. Nothing that a caller sends may become one.
"""

from bisect import bisect_left
from collections.abc import Sequence


class Counter:
    """A number that only grows, for each combination of the labels' values."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        """Create it without a value.

        Args:
            name: that of the metric.
            text: what it counts, for people.
            labels: the names of the labels.
        """
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self.values: dict[tuple[str, ...], int] = {}

    def add(self, *labels: str, amount: int = 1) -> None:
        """Add to the number of these values of the labels."""
        self.values[labels] = self.values.get(labels, 0) + amount

    def begin(self, *labels: str) -> None:
        """Begin at 0, so that the first one is seen to be an increase."""
        self.values.setdefault(labels, 0)


class Series:
    """The observations of a histogram with the same values of the labels."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many were up to each bound, and above the one before it. The last are above all bounds."""
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count an observation."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.sum += value


class Histogram:
    """How often something was how large, for each combination of the labels' values."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        """Create it without an observation.

        Args:
            name: that of the metric.
            text: what it measures, for people.
            labels: the names of the labels.
            bounds: the upper bounds of the buckets, in order.
        """
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self.bounds = tuple(bounds)
        self.series: dict[tuple[str, ...], Series] = {}

    def find(self, *labels: str) -> Series:
        """Return the series with these values of the labels."""
        series = self.series.get(labels)
        if series is None:
            series = self.series[labels] = Series(self.bounds)
        return series


class Reading:
    """What is read only when somebody asks."""

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), *, grows: bool = False) -> None:
        """Describe it.

        Args:
            name: that of the metric.
            text: what it shows, for people.
            labels: the names of the labels.
            grows: whether it is a counter rather than a gauge.
        """
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self.type = "counter" if grows else "gauge"
