"""The comment of an RPC, divided into what the OpenAPI document says in different places."""

import re
from typing import NamedTuple

_ERRORS = re.compile(r"\s*\bErrors(?: of the call as a whole)?:\n\n(?=- )")
_ERROR = re.compile(r"[A-Z_]+[^:]*?\(HTTP (\d{3})\): (.+)")
_ASIDE = re.compile(r" ?\(HTTP \d{3}: [^)]*\)")


class MethodTexts(NamedTuple):
    """What the comment of an RPC says."""

    summary: str
    """Its first sentence, without the full stop."""
    description: str
    """The rest, without the errors. May be empty."""
    errors: dict[str, str]
    """When an HTTP status is the response, and what to do then. The comment need not list them all."""


def divide(comment: str) -> MethodTexts:
    """Divide the comment of an RPC."""
    text, _, errors = _replace_first(_ERRORS, comment).partition("\f")
    summary, _, rest = re.sub(r"\s+", " ", text.partition("\n\n")[0]).partition(". ")
    following = text.partition("\n\n")[2]
    description = "\n\n".join(part for part in (rest, following) if part)
    return MethodTexts(summary.removesuffix("."), description, _read_errors(errors))


def _replace_first(pattern: re.Pattern[str], text: str) -> str:
    return pattern.sub("\f", text, count=1)


def _read_errors(errors: str) -> dict[str, str]:
    """Return the texts by HTTP status. Errors that only callers of gRPC get have no status."""
    found = {}
    for item in re.split(r"^- ", errors, flags=re.MULTILINE)[1:]:
        if error := _ERROR.fullmatch(re.sub(r"\s+", " ", item).strip()):
            text = _ASIDE.sub("", error[2])
            found[error[1]] = text[0].upper() + text[1:]
    return found
