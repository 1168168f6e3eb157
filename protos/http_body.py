"""The descriptor set that our Envoy loads: the same routes, each to an RPC that takes and returns bytes.

`google.api.HttpBody` makes the transcoder pass bodies on as they are, so that the server reads JSON itself. The RPCs
have packages of their own, so that a caller of the typed RPCs cannot pass for one of JSON:

- `data_analytics.v1.http` has the creates, for bodies that are small enough for Envoy to keep until they are whole,
  the erasures, and what reads, whose responses are streams: Envoy passes a page on as its caller reads it, and does
  not keep it.
- `data_analytics.v1.http.upload` has the creates again, and the batch, with streams of requests: Envoy passes the body
  on as it arrives.
"""

import re
from collections.abc import Callable

from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf import any_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto

HTTP_BODY = ".google.api.HttpBody"


def derive_http_set(typed: bytes) -> bytes:
    """Return the descriptor set for Envoy, given the typed one, both as a serialized FileDescriptorSet.

    It has two copies of each service file, in which the RPCs without a route are left out, and the others take and
    return HttpBody.
    """
    files = FileDescriptorSet.FromString(typed).file
    derived = FileDescriptorSet(file=[file for file in files if not file.service])
    names = {file.name for file in derived.file}
    for module in (any_pb2, httpbody_pb2):
        if module.DESCRIPTOR.name not in names:
            module.DESCRIPTOR.CopyToProto(derived.file.add())
    for file in files:
        if file.service:
            derived.file.append(_derive_file(file, "http", _make_small))
            derived.file.append(_derive_file(file, "http.upload", _make_upload))
    return derived.SerializeToString()


def _make_small(method: MethodDescriptorProto, rule: http_pb2.HttpRule) -> bool:
    """Change a method for `data_analytics.v1.http`. Return whether it belongs there."""
    method.server_streaming = bool(rule.get)
    if rule.get:
        rule.get = re.sub(r"\{\w+\}", "*", rule.get)  # HttpBody has no field for it: the server reads it from the URL.
    return not _is_batch(rule)


def _make_upload(method: MethodDescriptorProto, rule: http_pb2.HttpRule) -> bool:
    """Change a method for `data_analytics.v1.http.upload`. Return whether it belongs there."""
    method.client_streaming = True
    return bool(rule.post and not rule.post.endswith(":erase"))


def _is_batch(rule: http_pb2.HttpRule) -> bool:
    return bool(rule.post.endswith(":batch"))


def _derive_file(
    file: FileDescriptorProto, suffix: str, change: Callable[[MethodDescriptorProto, http_pb2.HttpRule], bool]
) -> FileDescriptorProto:
    directory, _, name = file.name.rpartition("/")
    derived = FileDescriptorProto(
        name=f"{directory}/{suffix.replace('.', '/')}/{name}",
        package=f"{file.package}.{suffix}",
        dependency=[annotations_pb2.DESCRIPTOR.name, httpbody_pb2.DESCRIPTOR.name],
        syntax=file.syntax,
    )
    for service in file.service:
        copy = derived.service.add(name=service.name)
        for method in service.method:
            if not method.options.HasExtension(annotations_pb2.http):
                continue
            changed = MethodDescriptorProto()
            changed.CopyFrom(method)
            changed.input_type = changed.output_type = HTTP_BODY
            rule = changed.options.Extensions[annotations_pb2.http]
            if change(changed, rule):
                _add_encoded_paths(rule)
                copy.method.append(changed)
    return derived


def _add_encoded_paths(rule: http_pb2.HttpRule) -> None:
    """Route a path with a percent-encoded colon as the one with a colon. The transcoder compares them undecoded."""
    verb = rule.WhichOneof("pattern")
    for path in [getattr(each, verb) for each in (rule, *rule.additional_bindings)]:
        for encoded in ("%3A", "%3a") if ":" in path else ():
            rule.additional_bindings.add(**{verb: path.replace(":", encoded)}, body=rule.body)
