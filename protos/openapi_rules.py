"""The `buf.validate` rules of the protos as JSON Schema. A rule of another kind is an error, not left out."""

from collections.abc import Set as AbstractSet
from typing import Any, cast

from google.protobuf.descriptor_pb2 import DescriptorProto as Message
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from buf.validate import validate_pb2
from buf.validate.validate_pb2 import FieldRules
from openapi_parts import Json

NO_RULES = FieldRules()


def rules_of(field: Field) -> FieldRules:
    """The annotations of a field."""
    options: Any = field.options
    return cast("FieldRules", options.Extensions[validate_pb2.field])


def groups_of(message: Message) -> list[list[str]]:
    """The groups of fields of which one is required. Their JSON names are those of the proto."""
    options: Any = message.options
    return [list(rule.fields) for rule in options.Extensions[validate_pb2.message].oneof]


def check_known(field: Field, rules: FieldRules, known: AbstractSet[str]) -> None:
    """Raises NotImplementedError if there is a rule that is not one of the `known`, such as "string.max_len"."""
    kind = rules.WhichOneof("type")
    found = {f"{kind}.{rule.name}" for rule, _ in getattr(rules, kind).ListFields()} if kind else set()
    if found - known:
        raise NotImplementedError(f"{field.name}: the document has no words for {', '.join(found - known)}")


def text(field: Field, rules: FieldRules) -> Json:
    """The schema of a string. In proto3 one that is required is not empty."""
    check_known(field, rules, {"string.min_len", "string.max_len", "string.not_contains", "string.in"})
    schema: Json = {"type": "string"}
    if least := rules.string.min_len or int(rules.required):
        schema["minLength"] = least
    if rules.string.HasField("max_len"):
        schema["maxLength"] = rules.string.max_len
    if rules.string.not_contains == "\0":
        schema["not"] = {"type": "string", "pattern": r"\u0000"}  # a pattern alone would hold for null, too
    elif rules.string.not_contains:
        raise NotImplementedError(f"{field.name}: the document has no words for characters other than U+0000")
    if allowed := list(getattr(rules.string, "in")):
        schema["enum"] = allowed
    return schema


def whole_number(field: Field, rules: FieldRules) -> Json:
    """The schema of an int32."""
    check_known(field, rules, {"int32.gte", "int32.lte"})
    limits = rules.int32
    return {
        "type": "integer",
        "minimum": limits.gte if limits.HasField("gte") else -(2**31),
        "maximum": limits.lte if limits.HasField("lte") else 2**31 - 1,
    }
