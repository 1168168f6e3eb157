"""Times that callers send: texts in RFC 3339."""

import re
from datetime import UTC, datetime

_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: str) -> datetime | None:
    """Return the time that `text` names, in UTC, or None if it names none."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    if match[1]:  # Python takes at most six digits.
        text = text.replace(match[1], match[1][:7])
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_milliseconds(text: str) -> int | None:
    """Return the time that `text` names in whole milliseconds since the epoch, or None if it names none."""
    time = parse_time(text)
    if time is None:
        return None
    since = time - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1_000 + since.microseconds // 1_000
