"""The `buf.validate` rules of the protos as JSON Schema. A rule that has no translation here is an error."""

from collections.abc import Set as AbstractSet
from typing import Any, cast

from google.protobuf.descriptor_pb2 import DescriptorProto as Message
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from buf.validate import validate_pb2
from buf.validate.validate_pb2 import FieldRules
from openapi_parts import Json

NO_RULES = FieldRules()


def get_rules(field: Field) -> FieldRules:
    """Return the rules of a field."""
    options: Any = field.options
    return cast("FieldRules", options.Extensions[validate_pb2.field])


def get_required_groups(message: Message) -> list[list[str]]:
    """Return each group of fields of which one is required, as proto names, which equal the JSON names here."""
    options: Any = message.options
    return [list(rule.fields) for rule in options.Extensions[validate_pb2.message].oneof]


def check_supported(field: Field, rules: FieldRules, supported: AbstractSet[str]) -> None:
    """Raise NotImplementedError if there is a rule that is not in `supported`, such as "string.max_len"."""
    kind = rules.WhichOneof("type")
    found = {f"{kind}.{rule.name}" for rule, _ in getattr(rules, kind).ListFields()} if kind else set()
    if found - supported:
        raise NotImplementedError(f"{field.name}: no JSON Schema for {', '.join(sorted(found - supported))}")


def make_string_schema(field: Field, rules: FieldRules) -> Json:
    """Return the schema of a string. A required string of proto3 is not empty."""
    check_supported(
        field, rules, {"string.min_len", "string.max_len", "string.not_contains", "string.in", "string.uuid"}
    )
    schema: Json = {"type": "string"}
    if min_length := rules.string.min_len or int(rules.required):
        schema["minLength"] = min_length
    if rules.string.HasField("max_len"):
        schema["maxLength"] = rules.string.max_len
    if rules.string.not_contains == "\0":
        schema["not"] = {"type": "string", "pattern": r"\u0000"}  # without the type, null would match too
    elif rules.string.not_contains:
        raise NotImplementedError(f"{field.name}: no JSON Schema for not_contains of anything but U+0000")
    if rules.string.uuid:
        schema["format"] = "uuid"
    if allowed := list(getattr(rules.string, "in")):
        schema["enum"] = allowed
    return schema


def make_int32_schema(field: Field, rules: FieldRules) -> Json:
    """Return the schema of an int32."""
    check_supported(field, rules, {"int32.gte", "int32.lte"})
    limits = rules.int32
    return {
        "type": "integer",
        "minimum": limits.gte if limits.HasField("gte") else -(2**31),
        "maximum": limits.lte if limits.HasField("lte") else 2**31 - 1,
    }
