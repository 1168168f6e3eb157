"""The OpenAPI document of the HTTP door, made of what Envoy and the server go by: the annotated descriptors.

What no descriptor says is in `openapi_parts.py`, how their rules read as JSON Schema in `openapi_rules.py`.
"""

import re
from collections.abc import Iterator
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pb2 import MethodDescriptorProto as Method

from buf.validate.validate_pb2 import IGNORE_ALWAYS, FieldRules
from openapi_parts import KEY, REFUSALS, REPLAYED, STATUS, Json, content, exactly
from openapi_rules import NO_RULES, check_known, groups_of, rules_of, text, whole_number

# Paths in a file, without the indices: messages and their fields, services and their methods.
_COMMENTED = {(4,), (4, 2), (6,), (6, 2)}


class Document:
    """The document in the making."""

    def __init__(self, image: bytes) -> None:
        """Reads a serialised FileDescriptorSet, which has to have source info for the descriptions."""
        files = FileDescriptorSet.FromString(image).file
        self._own = [file for file in files if file.package.startswith("data_analytics.")]
        self._messages = {f".{file.package}.{one.name}": one for file in self._own for one in file.message_type}
        self._comments = dict(self._read_comments())
        self._schemas: Json = {"Status": {"description": "Why a request is refused: google.rpc.Status.", **STATUS}}

    def make(self) -> Json:
        """The document."""
        paths: Json = {}
        for file in self._own:
            for service in file.service:
                for method in service.method:
                    rule = method.options.Extensions[annotations_pb2.http]
                    if verb := rule.WhichOneof("pattern"):  # else by gRPC only
                        name = f".{file.package}.{service.name}.{method.name}"
                        operation = self._operation(name, method, has_body=bool(rule.body))
                        paths.setdefault(getattr(rule, verb), {})[verb] = {"tags": [service.name], **operation}
        version = self._own[0].package.rpartition(".")[2]
        return {
            "openapi": "3.1.0",
            "info": {"title": "Data Analytics Service", "version": version},
            "servers": [{"url": "/"}],
            "paths": dict(sorted(paths.items())),
            "components": {"schemas": dict(sorted(self._schemas.items()))},
        }

    def _read_comments(self) -> Iterator[tuple[str, str]]:
        """The comments before messages, services, fields and methods, by the full names of these."""
        for file in self._own:
            for location in file.source_code_info.location:
                kinds = tuple(location.path[::2])
                if location.leading_comments and kinds in _COMMENTED:
                    declared: Any = file
                    name = f".{file.package}"
                    for kind, index in zip(kinds, location.path[1::2], strict=True):
                        declared = getattr(declared, declared.DESCRIPTOR.fields_by_number[kind].name)[index]
                        name += f".{declared.name}"
                    yield name, re.sub(r"(?m)^ ", "", location.leading_comments).strip()

    def _operation(self, name: str, method: Method, *, has_body: bool) -> Json:
        summary, _, _ = re.sub(r"\s+", " ", self._comments[name]).partition(". ")
        success: Json = {
            "description": self._comments[method.output_type],
            "content": content(self._answer(method.output_type)),
        }
        parameters = [] if has_body else list(self._parameters(method.input_type))
        created = method.name.startswith("Create")  # what envoy.yaml answers with 201
        if created:
            parameters.append(KEY)
            success["headers"] = {"Idempotency-Replayed": REPLAYED}
        return {
            "operationId": method.name,
            "summary": summary.removesuffix("."),
            "description": self._comments[name],
            **({"parameters": parameters} if parameters else {}),
            **({"requestBody": self._body(method.input_type)} if has_body else {}),
            "responses": {
                "201" if created else "200": success,
                **{status: refusal for status, refusal in REFUSALS.items() if has_body or status != "409"},
            },
        }

    def _parameters(self, message: str) -> Iterator[Json]:
        for field in self._messages[message].field:
            rules = rules_of(field)
            yield {
                "name": field.json_name,
                "in": "query",
                "description": self._comments[f"{message}.{field.name}"],
                "required": rules.required,
                "schema": self._value(field, rules),
            }

    def _body(self, message: str) -> Json:
        declared = self._messages[message]
        self._schemas[declared.name] = {"description": self._comments[message], **self._taken(message)}
        return {"required": True, "content": content({"$ref": f"#/components/schemas/{declared.name}"})}

    def _taken(self, message: str, *, checked: bool = True) -> Json:
        """What a caller may send. Keys that nobody knows are dropped, and null is the same as no key at all."""
        properties: Json = {}
        required = []
        for field in self._messages[message].field:
            rules = rules_of(field) if checked else NO_RULES
            value = self._value(field, rules)
            if rules.required:
                required.append(field.json_name)
            else:
                value["type"] = [value["type"], "null"]
            properties[field.json_name] = {"description": self._comments[f"{message}.{field.name}"], **value}
        schema: Json = {"type": "object", "properties": properties, "propertyNames": {"minLength": 1}}
        if required:
            schema["required"] = required
        for group in groups_of(self._messages[message]) if checked else ():
            # That two names must be equal when both are sent is more than JSON Schema can say.
            schema["anyOf"] = [
                {"properties": {name: {"type": "string", "minLength": 1}}, "required": [name]} for name in group
            ]
        return schema

    def _answer(self, message: str) -> Json:
        """A reference to what the server sends: every key, always, but only one of a oneof."""
        declared = self._messages[message]
        if declared.name not in self._schemas:
            schema = exactly(
                **{
                    field.json_name: {
                        "description": self._comments[f"{message}.{field.name}"],
                        **self._value(field, NO_RULES, answered=True),
                    }
                    for field in declared.field
                }
            )
            if either := [field.json_name for field in declared.field if field.HasField("oneof_index")]:
                schema["required"] = [name for name in schema["required"] if name not in either]
                schema["oneOf"] = [{"required": [name]} for name in either]
            self._schemas[declared.name] = {"description": self._comments[message], **schema}
        return {"$ref": f"#/components/schemas/{declared.name}"}

    def _value(self, field: Field, rules: FieldRules, *, answered: bool = False) -> Json:
        """The schema of a field's value."""
        if field.label != Field.LABEL_REPEATED:
            return self._single(field, rules, answered=answered)
        check_known(field, rules, {"repeated.max_items", "repeated.items"})
        schema: Json = {"type": "array", "items": self._single(field, rules.repeated.items, answered=answered)}
        if rules.required:
            schema["minItems"] = 1
        if rules.repeated.max_items:
            schema["maxItems"] = rules.repeated.max_items
        return schema

    def _single(self, field: Field, rules: FieldRules, *, answered: bool) -> Json:
        """The schema of one value, be it the field's or one of its list."""
        match field.type:
            case Field.TYPE_STRING:
                is_time = answered and field.name.endswith("_at")
                return {**text(field, rules), **({"format": "date-time"} if is_time else {})}
            case Field.TYPE_INT32:
                return whole_number(field, rules)
            case Field.TYPE_BOOL:
                return {"type": "boolean"}
            case Field.TYPE_MESSAGE if field.type_name == ".google.protobuf.Struct":
                return {"type": "object"}
            case Field.TYPE_MESSAGE if answered:
                return self._answer(field.type_name)
            case Field.TYPE_MESSAGE:
                return self._taken(field.type_name, checked=rules.ignore != IGNORE_ALWAYS)
        raise NotImplementedError(f"{field.name}: a type that this document does not tell of")
