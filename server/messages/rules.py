"""The kinds of rules that requests break, of which there are few, so that each can be counted."""

from functools import lru_cache

from server.messages.refusals import KEY_FIELD, KEY_METADATA, FieldViolation
from server.messages.wording import (
    EVENT_NOT_PERMITTED,
    GIVEN_TWICE,
    NOT_A_BOOLEAN,
    NOT_A_LIST,
    NOT_A_STRING,
    NOT_AN_INTEGER,
    NOT_AN_OBJECT,
    NOT_JSON,
    NOT_UTF8,
)

REQUIRED, TOO_LONG, UNKNOWN, WRONG_TYPE = "required", "too_long", "unknown_field", "wrong_type"
MALFORMED, KEY, PERMISSION, OTHER = "malformed", "idempotency_key", "not_permitted", "other"

RULES = (REQUIRED, TOO_LONG, UNKNOWN, WRONG_TYPE, MALFORMED, KEY, PERMISSION, OTHER)

_TYPES = {NOT_A_STRING, NOT_AN_OBJECT, NOT_A_LIST, NOT_AN_INTEGER, NOT_A_BOOLEAN}


# The text of a violation may quote its caller, so they are not all remembered.
@lru_cache(maxsize=256)
def name_rule(violation: FieldViolation) -> str:
    """Return the kind of rule, one of `RULES`, that a violation is about."""
    field, text = violation
    if violation == EVENT_NOT_PERMITTED:
        return PERMISSION
    if field.endswith((KEY_FIELD, KEY_METADATA)):
        return KEY
    if text.endswith("is required"):
        return REQUIRED
    if text.startswith("must be at most"):
        return TOO_LONG
    if text.startswith("is not a known"):
        return UNKNOWN
    if text in _TYPES or text.startswith("must be in list"):
        return WRONG_TYPE
    if text.startswith((NOT_JSON, NOT_UTF8, GIVEN_TWICE)) or not field:
        return MALFORMED
    return OTHER
