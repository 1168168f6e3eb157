"""What the contract says of an event, written down a second time and apart from the server."""

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
SURE_DEPTH = 20
"""How deep a `version_info` may surely nest. What is deeper may be refused as a message that cannot be read."""


def faults(request: Any, key: str = "") -> set[str]:
    """The fields of a create that have to be named when it is refused; none: it has to be stored.

    Args:
        request: a create of any of the three kinds.
        key: the idempotency key that is sent beside it.
    """
    texts = {field.name: getattr(request, field.name) for field in request.DESCRIPTOR.fields if field.name in LIMITS}
    wrong = {name for name in REQUIRED if not texts[name]}
    if other := {"lead_id", "contact_id"} & texts.keys():
        (own,) = other
        if texts[own] == texts["entity_id"]:
            del texts["entity_id"]  # The same name twice is one name, and one fault.
            wrong |= set() if texts[own] else {own}
        elif texts[own] and texts["entity_id"]:
            wrong |= {own, "entity_id"}
    else:
        wrong |= set() if request.entity_type in ("lead", "contact") else {"entity_type"}
        wrong |= set() if request.entity_id else {"entity_id"}
    wrong |= {name for name, text in texts.items() if len(text) > LIMITS[name] or "\0" in text}
    if request.HasField("version_info") and not _storable(request.version_info):
        wrong.add("version_info")
    if key and (len(key) > 255 or any(not " " <= character <= "~" for character in key)):
        wrong.add("idempotency-key")
    elif key and texts.get("idempotency_key", "") not in ("", key):
        wrong.add("idempotency_key")
    return wrong


def stored(request: Any, key: str = "") -> dict[str, Any]:
    """The columns that hold what was sent once the event is stored, `version_info` as Python reads JSON."""
    row: dict[str, Any] = dict.fromkeys(LIMITS, "")
    row |= {field.name: getattr(request, field.name) for field in request.DESCRIPTOR.fields}
    lead, contact = row.pop("lead_id"), row.pop("contact_id")
    row["entity_type"] = getattr(request, "entity_type", "lead" if hasattr(request, "lead_id") else "contact")
    row["entity_id"] = row["entity_id"] or lead or contact
    row["idempotency_key"] = row["idempotency_key"] or key
    row["version_info"] = plain(request.version_info) if request.HasField("version_info") else None
    return row


def plain(struct: Struct) -> dict[str, Any]:
    """The object as Python reads it from JSON, every number a float."""
    return {key: _plain(value) for key, value in struct.fields.items()}


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return plain(value.struct_value)
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    return None if kind == "null_value" else getattr(value, kind) if kind else value


def depth(struct: Struct) -> int:
    """How many objects and lists are one in another, the whole included."""
    return _depth(Value(struct_value=struct))


def _depth(value: Value) -> int:
    match value.WhichOneof("kind"):
        case "struct_value":
            return 1 + max(map(_depth, value.struct_value.fields.values()), default=0)
        case "list_value":
            return 1 + max(map(_depth, value.list_value.values), default=0)
        case _:
            return 0


def _storable(struct: Struct) -> bool:
    content = plain(struct)
    for part in _parts(content):
        if isinstance(part, Value) or (isinstance(part, str) and "\0" in part):
            return False
        if isinstance(part, float) and not (math.isfinite(part) and digits(_json(part)) <= MAX_DIGITS):
            return False
    return depth(struct) <= MAX_DEPTH and len(_json(content).encode()) <= MAX_JSON


def digits(number: str) -> int:
    """How many digits a number of JSON has when it is written without an exponent."""
    sign, significant, exponent = Decimal(number).as_tuple()
    assert sign in (0, 1)
    assert isinstance(exponent, int)
    whole = max(1, len(significant) + exponent) if any(significant) else 1
    return whole + max(0, -exponent)


def _parts(content: Any) -> Iterator[Any]:
    """Every key and value of an object, itself included."""
    yield content
    if isinstance(content, dict):
        yield from content
    for item in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _parts(item)


def _json(content: Any) -> str:
    """Compact JSON. Python's numbers are longer than others' by a few bytes at most: 1e+16."""
    if isinstance(content, dict):
        return "{" + ",".join(f"{_json(key)}:{_json(value)}" for key, value in content.items()) + "}"
    if isinstance(content, list):
        return f"[{','.join(map(_json, content))}]"
    if isinstance(content, float) and content.is_integer() and abs(content) < 2**53:
        return str(int(content))
    return json.dumps(content, ensure_ascii=False)
