"""What callers read about a request: what is wrong with a field, or with the whole.

Single creates, batches, streams and searches all take their words from here.
"""

from collections.abc import Sequence

from server.messages.refusals import KEY_FIELD, KEY_METADATA, FieldViolation

# Of one event of a batch. It says the same whether the customer exists or not.
EVENT_NOT_PERMITTED = FieldViolation("", "PERMISSION_DENIED: these credentials do not allow this event")

EVENT_REFUSED = FieldViolation("", "the database cannot store this event")
KEY_REUSED = FieldViolation(
    KEY_FIELD, "belongs to another event of this customer: send that event again, or use another key"
)
KEY_ERASED = FieldViolation(KEY_FIELD, "belongs to an event that was erased: it cannot be used for 30 days after that")
USER_BLOCKED = FieldViolation("user_id", "is refused: the events of this user were erased, and no more are stored")

# In a batch, where one event must not fail the others, this is about a field as well.
KEY_IN_PROGRESS = FieldViolation(KEY_FIELD, "is being written by another call: retry this event")

KEY_WITH_BATCH = FieldViolation(
    KEY_METADATA, "is for a single event: in a batch, each event has its own idempotency_key"
)
KEY_MALFORMED = FieldViolation(KEY_METADATA, "must be at most 255 printable ASCII characters")
KEY_MISMATCH = FieldViolation(KEY_FIELD, "must be equal to the idempotency-key header when both are sent")

NOT_ONE_FILTER = FieldViolation(
    "", "must have exactly one of all_events, user_id, entity_id, older_than_days and created_before"
)
ENTITY_TYPE = FieldViolation("entity_type", "must be lead or contact with entity_id, and absent without")
ERASURE_NOT_JSON = FieldViolation("content-type", "must be application/json on this route")
BLOCK_WITHOUT_USER = FieldViolation("block_later", "is for a user_id")
NOT_A_TIME_TEXT = "must be a time in RFC 3339, such as 2026-01-31T00:00:00Z"
NOT_A_TIME = FieldViolation("created_before", NOT_A_TIME_TEXT)
IN_THE_FUTURE = FieldViolation("created_before", "must not be in the future")

NOT_THIS_TOKEN = FieldViolation(
    "page_token", "is not a token of this list or search: ask for the same as when you were given it"
)
NOT_THIS_RESUME_TOKEN = FieldViolation(
    "resume_token", "is not a token of this stream: ask for the same as when you were given it"
)
SUMMARY_TOO_LONG = FieldViolation("since", "must be at most 400 days before until, which is now unless it is sent")
SUMMARY_TOO_LARGE = FieldViolation("top", "the response is over 16 MiB: ask for fewer groups")
RESUME_TOKEN_TOO_OLD = FieldViolation(
    "resume_token", "is over 24 hours old: list or export what was stored since, and watch anew"
)
PAGE_WITH_TOKEN = FieldViolation("page", "must be absent with a token, which has its own page")

VERSION_INFO_HAS_NUL = "holds U+0000, which the database cannot store"
VERSION_INFO_NOT_FINITE = "holds a number that is not finite"
VERSION_INFO_NOT_SET = "holds a value that is not set"

# Of JSON bodies and of the queries of searches.
NOT_A_STRING = "must be a string"
NOT_AN_OBJECT = "must be a JSON object"
NOT_A_LIST = "must be a list"
NOT_AN_INTEGER = "must be a whole number of at most 32 bits"
NOT_A_BOOLEAN = "must be true or false"
NOT_JSON = "is not valid JSON"
NOT_UTF8 = "is not UTF-8"
GIVEN_TWICE = "is given more than once"
TOO_MANY_PARTS = "is refused, but has too many parts for all its faults to be found"
TOO_DEEP_TO_SPLIT = "nests too deeply for one event to be told from another"
NOT_EXPLAINED = (
    "is refused too, but only the faults of the first refused events are told: send it alone to learn its own"
)
BODY_WITH_SEARCH = FieldViolation("", "must be empty on this route")
TOO_MANY_PARAMETERS = FieldViolation("", "has over 1,000 parameters")
TOO_LARGE = "must be at most 1 MiB, as the body of a single event"
NOT_COMPRESSED = FieldViolation("", "is not one whole stream of the content-encoding that its header names")


def limit_reach(limit: int) -> str:
    """Describe a page that ends after more than `limit` events."""
    return f"times the page size must be at most {limit:,}"


def limit_json_bytes(limit: int) -> str:
    """Describe an object that is longer than `limit` as JSON."""
    return f"must be at most {limit} bytes as JSON"


def limit_depth(limit: int) -> str:
    """Describe an object whose objects and lists nest more than `limit` levels deep."""
    return f"must be at most {limit} levels deep"


def limit_digits(limit: int) -> str:
    """Describe an object with a number that has more than `limit` digits when it is written without an exponent."""
    return f"holds a number of more than {limit} digits when written out"


def describe_unknown(kind: str, nearest: str) -> str:
    """Describe a name that is not known.

    Args:
        kind: what the name should be the name of, such as "field".
        nearest: the known name that is most like it, or "".
    """
    return f"is not a known {kind}" + (f"; did you mean {nearest}?" if nearest else "")


# Of the syntax of JSON: what follows the line and column.
STRING_WITHOUT_END = "the string has no end"
TEXT_NOT_UTF8 = "the text is not UTF-8"
UNMATCHED_BRACKETS = "its brackets do not match"

# What is expected where something else is found.
MATCHING_BRACKETS = "brackets that match"
NAME = "a name in double quotes"
OBJECT = "an object"
COLON = "a colon"
VALUE = "a value"
NOTHING = "nothing after the object"


def describe_malformed(line: int, column: int, fault: str) -> str:
    """Describe text that is not JSON, and where, both counted from 1."""
    return f"is not valid JSON at line {line}, column {column}: {fault}"


def describe_unexpected(expected: str, found: str) -> str:
    """Describe what is found in place of what is expected."""
    return f"expected {expected}, found {found or 'the end'}"


def expect_comma_or(end: str) -> str:
    """Name what may follow in an object or a list that ends with `end`."""
    return f"a comma or {end}"


def describe_last_comma(end: str) -> str:
    """Describe a comma that nothing follows."""
    return f"no comma may stand before {end}"


def describe_no_value(found: str) -> str:
    """Describe what is neither a string, a number, true, false nor null."""
    return f"{found} is not a value"


def describe_no_escape(found: str) -> str:
    """Describe what a backslash may not be followed by."""
    return f"{found} is not an escape"


def describe_half_pair(found: str) -> str:
    """Describe an escape that is no character without another one."""
    return f"{found} is half of a surrogate pair"


def describe_control(character: str) -> str:
    """Describe a control character in a string."""
    return f"the control character U+{ord(character):04X} must be escaped"


def require_one_of(names: Sequence[str]) -> FieldViolation:
    """Return the violation of a request that sends none of these fields."""
    return FieldViolation(names[0], f"one of {' and '.join(names)} is required")


def require_equal(names: Sequence[str]) -> list[FieldViolation]:
    """Return the violations of a request that sends different values in these fields."""
    return [FieldViolation(name, f"{' and '.join(names)} must be equal when both are sent") for name in names]
