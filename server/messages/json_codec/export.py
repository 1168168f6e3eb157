"""Exports as newline-delimited JSON."""

from collections.abc import Iterator
from typing import Any

import msgspec

from server.messages.export import Progress
from server.messages.json_codec.format import make_record
from server.messages.listing import slice_events
from storage import Step

TOKEN_INTERVAL = 1_000
"""How many events there are from one line with a token to the next."""

# A part ends with the line that exceeds it. Envoy takes no part of over 1 MiB, and a line has half of that at most.
_PART_BYTES = 256 << 10

_encoder = msgspec.json.Encoder()


def _make_line(*names: str) -> Any:
    return msgspec.defstruct("Line", [(name, Any) for name in names], gc=False)


_EventLine, _MarkedLine, _TokenLine, _EndLine = (
    _make_line(*names) for names in (["event"], ["event", "resumeToken"], ["resumeToken"], ["end"])
)
_End = _make_line("count")


def format_step(progress: Progress, step: Step) -> Iterator[bytes]:
    """Yield the lines of a step, in parts of whole lines: none if it has no events."""
    for place in slice_events(step.events):
        lines = list(map(_EventLine, map(make_record, step.events[place])))
        first, progress.count = progress.count, progress.count + len(lines)
        for index in range(-(first + 1) % TOKEN_INTERVAL, len(lines), TOKEN_INTERVAL):
            token = progress.make_token(step.events[place.start + index].id)
            lines[index] = _MarkedLine(lines[index].event, token)
        text = _encoder.encode_lines(lines)
        start = 0
        while start < len(text):
            end = text.find(b"\n", start + _PART_BYTES) + 1 or len(text)
            yield text[start:end]
            start = end


def format_place(progress: Progress, step: Step) -> bytes:
    """Return a line that has nothing but the token of what is to come after a step."""
    return _encoder.encode_lines([_TokenLine(progress.make_token(step.last_id))])


def format_end(progress: Progress) -> bytes:
    """Return the last line of a whole export."""
    return _encoder.encode_lines([_EndLine(_End(progress.count))])


def format_failure(status: bytes) -> bytes:
    """Return the last line of an export that has failed, given the status."""
    return b'{"error":%b}\n' % status
