"""What is wrong with JSON, as a refusal or the outcome of an event says it, and where the fault is."""

from typing import Any

from tests.support.http import Answer

HERE = b"^^"
"""Marks, in the body of a test, the character at which it is no JSON."""

Faults = list[tuple[str, str]]
"""The path and the description of each fault, in the order of the answer."""


def find_place(marked: bytes) -> tuple[bytes, str]:
    """Return a marked body without its mark, and what a description says of the place of the mark."""
    before, mark, after = marked.partition(HERE)
    assert mark
    text = before.decode("utf-8", "surrogateescape")
    line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    return before + after, f"is not valid JSON at line {line}, column {column}: "


def list_faults(answer: Answer) -> Faults:
    """Return every fault that a refusal names, also several of one field."""
    assert (answer.status, answer.json["code"]) == (422, 3), answer
    (details,) = answer.json["details"]
    return _read(details["fieldViolations"])


def list_outcomes(answer: Answer) -> list[Faults | None]:
    """Return the faults of each event of a batch, None for one that is stored, after checking the answer's form."""
    assert answer.status == 200, answer
    assert list(answer.json) == ["stored_count", "refused_count", "outcomes"]
    outcomes = answer.json["outcomes"]
    assert [outcome["index"] for outcome in outcomes] == list(range(len(outcomes)))
    found = [None if "stored" in outcome else _read(outcome["refused"]["violations"]) for outcome in outcomes]
    stored = found.count(None)
    assert (answer.json["stored_count"], answer.json["refused_count"]) == (stored, len(found) - stored)
    return found


def _read(violations: list[dict[str, Any]]) -> Faults:
    assert all(set(violation) == {"field", "description"} and violation["description"] for violation in violations)
    return [(violation["field"], violation["description"]) for violation in violations]
