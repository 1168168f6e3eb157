"""The rules for an event, written a second time and independently of the server."""

import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from google.protobuf.struct_pb2 import Struct, Value

LIMITS = {
    **dict.fromkeys(("customer_id", "user_id", "recording_id", "event_type"), 255),
    **dict.fromkeys(("entity_id", "lead_id", "contact_id"), 255),
    **dict.fromkeys(("tool_signature", "event_id", "name_parser_event_id", "recommendation_model_event_id"), 255),
    **dict.fromkeys(("javascript_local_time", "apex_local_time", "idempotency_key"), 255),
    "event_environment_path": 2_048,
    "message": 65_536,
}
REQUIRED = ("customer_id", "user_id", "recording_id", "event_type")
MAX_JSON = 16_384
MAX_DEPTH = 30
MAX_DIGITS = 100
GUARANTEED_DEPTH = 20
"""A `version_info` that nests no deeper is never refused for its depth. A deeper one may be refused as unreadable."""


def find_faults(request: Any, key: str = "") -> set[str]:
    """Return the fields that a refusal of a create must name. If there are none, the create must be stored.

    Args:
        request: a create of any of the three kinds.
        key: the idempotency key that is sent as metadata.
    """
    texts = {field.name: getattr(request, field.name) for field in request.DESCRIPTOR.fields if field.name in LIMITS}
    wrong = {name for name in REQUIRED if not texts[name]}
    if other := {"lead_id", "contact_id"} & texts.keys():
        (own,) = other
        if texts[own] == texts["entity_id"]:
            del texts["entity_id"]  # One value under two names is checked once.
            wrong |= set() if texts[own] else {own}
        elif texts[own] and texts["entity_id"]:
            wrong |= {own, "entity_id"}
    else:
        wrong |= set() if request.entity_type in ("lead", "contact") else {"entity_type"}
        wrong |= set() if request.entity_id else {"entity_id"}
    wrong |= {name for name, text in texts.items() if len(text) > LIMITS[name] or "\0" in text}
    if request.HasField("version_info") and not _is_storable(request.version_info):
        wrong.add("version_info")
    if key and (len(key) > 255 or any(not " " <= character <= "~" for character in key)):
        wrong.add("idempotency-key")
    elif key and texts.get("idempotency_key", "") not in ("", key):
        wrong.add("idempotency_key")
    return wrong


def expected_row(request: Any, key: str = "") -> dict[str, Any]:
    """Return the columns of the row that a stored create must have, `version_info` as Python reads JSON."""
    row: dict[str, Any] = dict.fromkeys(LIMITS, "")
    row |= {field.name: getattr(request, field.name) for field in request.DESCRIPTOR.fields}
    lead, contact = row.pop("lead_id"), row.pop("contact_id")
    row["entity_type"] = getattr(request, "entity_type", "lead" if hasattr(request, "lead_id") else "contact")
    row["entity_id"] = row["entity_id"] or lead or contact
    row["idempotency_key"] = row["idempotency_key"] or key
    row["version_info"] = to_python(request.version_info) if request.HasField("version_info") else None
    return row


def to_python(struct: Struct) -> dict[str, Any]:
    """Return the object as Python reads it from JSON, every number a float."""
    return {key: _value_to_python(value) for key, value in struct.fields.items()}


def _value_to_python(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return to_python(value.struct_value)
    if kind == "list_value":
        return [_value_to_python(item) for item in value.list_value.values]
    return None if kind == "null_value" else getattr(value, kind) if kind else value


def measure_depth(struct: Struct) -> int:
    """Return how deeply objects and lists nest; the outermost object counts."""
    return _depth_of(Value(struct_value=struct))


def _depth_of(value: Value) -> int:
    match value.WhichOneof("kind"):
        case "struct_value":
            return 1 + max(map(_depth_of, value.struct_value.fields.values()), default=0)
        case "list_value":
            return 1 + max(map(_depth_of, value.list_value.values), default=0)
        case _:
            return 0


def _is_storable(struct: Struct) -> bool:
    content = to_python(struct)
    for part in _walk(content):
        if isinstance(part, Value) or (isinstance(part, str) and "\0" in part):
            return False
        if isinstance(part, float) and not (math.isfinite(part) and count_digits(_to_json(part)) <= MAX_DIGITS):
            return False
    return measure_depth(struct) <= MAX_DEPTH and len(_to_json(content).encode()) <= MAX_JSON


def count_digits(number: str) -> int:
    """Return how many digits a number of JSON has when it is written without an exponent."""
    sign, significant, exponent = Decimal(number).as_tuple()
    assert sign in (0, 1)
    assert isinstance(exponent, int)
    whole = max(1, len(significant) + exponent) if any(significant) else 1
    return whole + max(0, -exponent)


def _walk(content: Any) -> Iterator[Any]:
    """Yield every key and value in an object, and the object itself."""
    yield content
    if isinstance(content, dict):
        yield from content
    for item in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _walk(item)


def _to_json(content: Any) -> str:
    """Return compact JSON. Python writes some numbers a few bytes longer than others do: 1e+16."""
    if isinstance(content, dict):
        return "{" + ",".join(f"{_to_json(key)}:{_to_json(value)}" for key, value in content.items()) + "}"
    if isinstance(content, list):
        return f"[{','.join(map(_to_json, content))}]"
    if isinstance(content, float) and content.is_integer() and abs(content) < 2**53:
        return str(int(content))
    return json.dumps(content, ensure_ascii=False)
