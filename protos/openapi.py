"""The OpenAPI document of the HTTP API, built from the annotated descriptors that Envoy and the server use.

`openapi_comments` divides the comments of RPCs, and `openapi_rules` translates the rules of fields to JSON Schema. What
the descriptors do not contain is in `openapi_parts`, `openapi_errors`, `openapi_streams`, `openapi_texts` and
`openapi_examples`.
"""

import re
from collections.abc import Iterator
from typing import Any

from google.api import annotations_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pb2 import MethodDescriptorProto as Method

from buf.validate.validate_pb2 import FieldRules
from openapi_comments import divide
from openapi_errors import make_error_responses
from openapi_examples import BODIES, PARAMETERS, RESPONSES
from openapi_parts import (
    CONTENT_ENCODING,
    IDEMPOTENCY_KEY,
    IDEMPOTENCY_REPLAYED,
    IGNORED_FIELDS,
    PUBLISHABLE_KEY,
    SECURITY,
    SECURITY_SCHEMES,
    STATUS,
    Json,
    make_json_content,
    make_object_schema,
)
from openapi_rules import (
    NO_RULES,
    check_supported,
    get_required_groups,
    get_rules,
    make_int32_schema,
    make_string_schema,
)
from openapi_streams import STREAMS, Stream
from openapi_texts import INFO, SERVERS, TAGS, find_tag

# The paths in a file, without indices, of messages and their fields, and of services and their methods.
_COMMENTED_PATHS = {(4,), (4, 2), (6,), (6, 2)}


class Document:
    """An OpenAPI document in the making."""

    def __init__(self, image: bytes) -> None:
        """Read the descriptors.

        Args:
            image: a serialized FileDescriptorSet with source info, whose comments become the descriptions.
        """
        files = FileDescriptorSet.FromString(image).file
        self._files = [file for file in files if file.package.startswith("data_analytics.")]
        self._messages = {f".{file.package}.{one.name}": one for file in self._files for one in file.message_type}
        self._comments = dict(self._read_comments())
        self._schemas: Json = {"Status": {"description": "The body of every error: google.rpc.Status.", **STATUS}}

    def build(self) -> Json:
        """Return the document."""
        paths: Json = {}
        for tag, _, path, verb, operation in sorted(self._make_operations(), key=lambda each: each[:2]):
            paths.setdefault(path, {})[verb] = {"tags": [TAGS[tag]["name"]], **operation}
        return {
            "openapi": "3.1.0",
            "info": INFO,
            "servers": SERVERS,
            "tags": TAGS,
            "paths": paths,
            "security": SECURITY,
            "components": {"schemas": dict(sorted(self._schemas.items())), "securitySchemes": SECURITY_SCHEMES},
        }

    def _make_operations(self) -> Iterator[tuple[int, int, str, str, Json]]:
        """Yield the place of the tag of each operation, how many other names it has before this path, and its verb."""
        for file in self._files:
            for service in file.service:
                for method in service.method:
                    http = method.options.Extensions[annotations_pb2.http]
                    if verb := http.WhichOneof("pattern"):  # a method without one is gRPC only
                        name = f".{file.package}.{service.name}.{method.name}"
                        for number, rule in enumerate([http, *http.additional_bindings]):
                            path = getattr(rule, verb)
                            operation = self._make_operation(name, method, path, has_body=bool(http.body))
                            operation["operationId"] = f"{method.name}{number + 1 if number else ''}"
                            if number:
                                operation["summary"] = f"Another name of {getattr(http, verb)}"
                            yield find_tag(service.name, method.name), number, path, verb, operation

    def _read_comments(self) -> Iterator[tuple[str, str]]:
        """Yield the full name of each message, service, field and method with the comment before it."""
        for file in self._files:
            for location in file.source_code_info.location:
                kinds = tuple(location.path[::2])
                if location.leading_comments and kinds in _COMMENTED_PATHS:
                    declared: Any = file
                    name = f".{file.package}"
                    for kind, index in zip(kinds, location.path[1::2], strict=True):
                        declared = getattr(declared, declared.DESCRIPTOR.fields_by_number[kind].name)[index]
                        name += f".{declared.name}"
                    yield name, re.sub(r"(?m)^ ", "", location.leading_comments).strip()

    def _make_operation(self, name: str, method: Method, path: str, *, has_body: bool) -> Json:
        texts = divide(self._comments[name])
        is_create = method.name.startswith("Create")  # envoy.lua sends 201 for these
        success: Json = {
            "description": getattr(STREAMS.get(method.name), "description", self._comments[method.output_type]),
            "headers": {
                **({"Idempotency-Replayed": IDEMPOTENCY_REPLAYED} if is_create else {}),
                "X-Ignored-Fields": IGNORED_FIELDS,
            },
            "content": self._make_content(method),
        }
        parameters = [CONTENT_ENCODING] if has_body else list(self._make_parameters(method.input_type, path))
        if "Create" in method.name:
            parameters.append(PUBLISHABLE_KEY)
        if is_create:
            parameters.append(IDEMPOTENCY_KEY)
        return {
            "summary": texts.summary,
            "description": texts.description,
            "parameters": parameters,
            **({"requestBody": self._make_request_body(method.input_type)} if has_body else {}),
            "responses": {
                "201" if is_create else "200": success,
                **make_error_responses(texts.errors, is_create=is_create, has_body=has_body, has_path="{" in path),
            },
        }

    def _make_content(self, method: Method) -> Json:
        """Return the content of a successful response."""
        if stream := STREAMS.get(method.name):
            return self._make_stream_content(stream)
        example = RESPONSES.get(method.output_type.rpartition(".")[2])
        return make_json_content(self._add_response_schema(method.output_type), example)

    def _make_stream_content(self, stream: Stream) -> Json:
        for message in stream.messages:
            self._add_response_schema(f".data_analytics.v1.{message}")
        return {stream.content_type: {"schema": stream.schema, "example": stream.example}}

    def _make_parameters(self, message: str, path: str) -> Iterator[Json]:
        for field in self._messages[message].field:
            rules = get_rules(field)
            yield {
                "name": field.json_name,
                "in": "path" if f"{{{field.name}}}" in path else "query",
                "description": self._comments[f"{message}.{field.name}"],
                "required": rules.required,
                "schema": self._make_field_schema(field, rules),
                **({"example": PARAMETERS[field.name]} if rules.required and field.name in PARAMETERS else {}),
            }

    def _make_request_body(self, message: str) -> Json:
        schema = self._add_request_schema(message)
        return {"required": True, "content": make_json_content(schema, BODIES.get(message.rpartition(".")[2]))}

    def _add_request_schema(self, message: str) -> Json:
        """Add the schema of a message that a caller sends, unless it is there, and return a reference to it.

        Unknown keys are refused, and null means absent.
        """
        declared = self._messages[message]
        if declared.name not in self._schemas:
            properties: Json = {}
            required = []
            for field in declared.field:
                rules = get_rules(field)
                value = self._make_field_schema(field, rules)
                if rules.required:
                    required.append(field.json_name)
                else:
                    value["type"] = [value["type"], "null"]
                properties[field.json_name] = {"description": self._comments[f"{message}.{field.name}"], **value}
            schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
            if required:
                schema["required"] = required
            for group in get_required_groups(declared):
                # JSON Schema cannot say that the values must be equal if several are sent.
                schema["anyOf"] = [
                    {"properties": {name: {"type": "string", "minLength": 1}}, "required": [name]} for name in group
                ]
            self._schemas[declared.name] = {"description": self._comments[message], **schema}
        return {"$ref": f"#/components/schemas/{declared.name}"}

    def _add_response_schema(self, message: str) -> Json:
        """Add the schema of a message that the server sends, unless it is there, and return a reference to it.

        The server always sends every key, except those that are optional, and that it sends only one of a oneof.
        """
        declared = self._messages[message]
        if declared.name not in self._schemas:
            schema = make_object_schema(
                **{
                    field.json_name: {
                        "description": self._comments[f"{message}.{field.name}"],
                        **self._make_field_schema(field, NO_RULES, in_response=True),
                    }
                    for field in declared.field
                }
            )
            optional = {field.json_name for field in declared.field if field.proto3_optional}
            schema["required"] = [name for name in schema["required"] if name not in optional]
            oneof = [field.json_name for field in declared.field if field.HasField("oneof_index")]
            if oneof := [name for name in oneof if name not in optional]:
                schema["required"] = [name for name in schema["required"] if name not in oneof]
                schema["oneOf"] = [{"required": [name]} for name in oneof]
            self._schemas[declared.name] = {"description": self._comments[message], **schema}
        return {"$ref": f"#/components/schemas/{declared.name}"}

    def _make_field_schema(self, field: Field, rules: FieldRules, *, in_response: bool = False) -> Json:
        """Return the schema of a field, which may be a list."""
        if field.label != Field.LABEL_REPEATED:
            return self._make_value_schema(field, rules, in_response=in_response)
        check_supported(field, rules, {"repeated.max_items", "repeated.unique", "repeated.items"})
        items = self._make_value_schema(field, rules.repeated.items, in_response=in_response)
        schema: Json = {"type": "array", "items": items}
        if rules.required:
            schema["minItems"] = 1
        if rules.repeated.max_items:
            schema["maxItems"] = rules.repeated.max_items
        if rules.repeated.unique:
            schema["uniqueItems"] = True
        return schema

    def _make_value_schema(self, field: Field, rules: FieldRules, *, in_response: bool) -> Json:
        """Return the schema of one value: the only one of the field, or an item of its list."""
        match field.type:
            case Field.TYPE_STRING:
                is_time = in_response and field.name.endswith("_at")
                return {**make_string_schema(field, rules), **({"format": "date-time"} if is_time else {})}
            case Field.TYPE_INT32:
                return make_int32_schema(field, rules)
            case Field.TYPE_INT64 if in_response:
                return {"type": "integer"}
            case Field.TYPE_BOOL:
                return {"type": "boolean"}
            case Field.TYPE_MESSAGE if field.type_name == ".google.protobuf.Struct":
                return {"type": ["object", "null"] if in_response else "object"}
            case Field.TYPE_MESSAGE if in_response:
                return self._add_response_schema(field.type_name)
            case Field.TYPE_MESSAGE:
                # Also where the rules of a batch ignore those of its events. Each event is then checked on its own.
                return self._add_request_schema(field.type_name)
        raise NotImplementedError(f"{field.name}: no JSON Schema for its type")
