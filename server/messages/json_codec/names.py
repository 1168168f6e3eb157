"""Names as callers wrote them: a printable form, the nearest known name, and the path to a value."""

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from server.messages.json_codec.tokens import escape, print_character

Path: TypeAlias = "tuple[Path, str | int] | None"
"""The names and indexes that lead to a value, the last first. None is the whole body."""

_MAX_NAME = 100
_MAX_PATH = 300
# A longer name is too far from any known one.
_MAX_COMPARED = 64
_NEARNESS = 0.7


def print_name(name: str) -> str:
    """Return a caller's name in printable characters, cut off if it is long."""
    shown = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
    return shown if shown.isprintable() else "".join(map(print_character, shown))


def print_path(path: Path) -> str:
    """Return a path in the form `version_info.tools[3].name`, its middle left out if it is long."""
    parts: list[str] = []
    while path is not None:
        path, key = path
        parts.append(f"[{key}]" if isinstance(key, int) else f".{print_name(key)}")
    printed = "".join(reversed(parts)).removeprefix(".")
    return printed if len(printed) <= _MAX_PATH else f"{printed[: _MAX_PATH // 2]}…{printed[-_MAX_PATH // 2 :]}"


def print_ignored(names: Iterable[str]) -> str:
    """Return the names of ignored fields as the value of a header: each once, in printable ASCII, of bounded length."""
    shown: dict[str, None] = {}
    seen = set()
    length = 0
    for name in names:
        if name in seen:
            continue
        seen.add(name)
        printed = re.sub(r"[^ -~]|,", lambda match: escape(match[0]), print_name(name))
        if printed not in shown:
            length += len(printed) + 2
            if length > _MAX_HEADER:
                return ", ".join([*shown, "..."])
            shown[printed] = None
    return ", ".join(shown)


_MAX_HEADER = 1_000


@lru_cache(maxsize=1_000)
def find_nearest(name: str, known: frozenset[str]) -> str:
    """Return the known name that is most like `name`, or "" if none is. May take 0.2 ms."""
    if len(name) > _MAX_COMPARED:
        return ""
    simple_names = {_simplify(each): each for each in sorted(known)}
    nearest = difflib.get_close_matches(_simplify(name), simple_names, n=1, cutoff=_NEARNESS)
    return simple_names[nearest[0]] if nearest else ""


def _simplify(name: str) -> str:
    """Return `name` without what styles of naming differ in: `leadId`, `lead-id` and `LEAD_ID` are near `lead_id`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
