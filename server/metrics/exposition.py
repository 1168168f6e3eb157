"""The metrics of a worker as text, in the form of Prometheus, and those of several workers as one text."""

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from server.metrics.instruments import Counter, Histogram, Reading

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP = "# HELP "


class Exposition:
    """Metrics as text. Those of a worker have the label `worker`, so that its start resets no other's counters."""

    def __init__(self, worker: str = "", instruments: Sequence[Counter | Histogram] = ()) -> None:
        """Create it.

        Args:
            worker: the value of the label. Without one, there is no such label.
            instruments: what has been counted and measured meanwhile.
        """
        self._labels = [("worker", _escape(worker))] if worker else []
        self._instruments = instruments
        self._readings: dict[Reading, list[tuple[tuple[str, ...], Callable[[], float]]]] = {}

    def add(self, reading: Reading, read: Callable[[], float], *labels: str) -> None:
        """Add what is read whenever somebody asks.

        Args:
            reading: what it is.
            read: returns the number.
            labels: the values of its labels.
        """
        self._readings.setdefault(reading, []).append((labels, read))

    def render(self) -> str:
        """Return the text."""
        lines: list[str] = []
        for reading, each in self._readings.items():
            lines += _describe(reading.name, reading.text, reading.type)
            lines += [self._format(reading.name, reading.labels, labels, read()) for labels, read in each]
        for instrument in self._instruments:
            if isinstance(instrument, Counter):
                lines += self._render_counter(instrument)
            else:
                lines += self._render_histogram(instrument)
        return "\n".join(lines) + "\n"

    def _render_counter(self, counter: Counter) -> Iterator[str]:
        yield from _describe(counter.name, counter.text, "counter")
        for labels, value in counter.values.items():
            yield self._format(counter.name, counter.labels, labels, value)

    def _render_histogram(self, histogram: Histogram) -> Iterator[str]:
        yield from _describe(histogram.name, histogram.text, "histogram")
        bounds = [*map(_format_number, histogram.bounds), "+Inf"]
        names = (*histogram.labels, "le")
        for labels, series in histogram.series.items():
            counts = list(accumulate(series.counts))
            if not counts[-1]:
                continue
            for bound, count in zip(bounds, counts, strict=True):
                yield self._format(f"{histogram.name}_bucket", names, (*labels, bound), count)
            yield self._format(f"{histogram.name}_sum", histogram.labels, labels, series.sum)
            yield self._format(f"{histogram.name}_count", histogram.labels, labels, counts[-1])

    def _format(self, name: str, names: Sequence[str], values: Sequence[str], number: float) -> str:
        pairs = [*self._labels, *zip(names, values, strict=True)]
        labels = ",".join([f'{key}="{value}"' for key, value in pairs])
        return f"{name}{{{labels}}} {_format_number(number)}" if pairs else f"{name} {_format_number(number)}"


def merge(texts: Sequence[str]) -> str:
    """Return several texts as one, in which each metric stands in one place."""
    metrics: dict[str, list[str]] = {}
    for text in texts:
        for block in text.split(_HELP)[1:]:
            head, kind, *lines = block.splitlines()
            metrics.setdefault(head.partition(" ")[0], [_HELP + head, kind]).extend(lines)
    return "\n".join([line for lines in metrics.values() for line in lines]) + "\n"


def _describe(name: str, text: str, kind: str) -> tuple[str, str]:
    return f"{_HELP}{name} {text}", f"# TYPE {name} {kind}"


def _escape(value: str) -> str:
    """Return the value of a label that may have any characters in it, as it stands in the text."""
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _format_number(number: float) -> str:
    if number == float("inf"):
        return "+Inf"
    return str(int(number)) if number == int(number) else repr(float(number))
