"""The descriptor set that our Envoy loads: the same routes, each to an RPC that takes and returns bytes.

`google.api.HttpBody` makes the transcoder pass bodies on as they are, so that the server reads JSON itself. The RPCs
have a package of their own, `data_analytics.v1.http`, so that a caller of the typed RPCs cannot pass for one of JSON.
"""

from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf import any_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

HTTP_BODY = ".google.api.HttpBody"


def derive_http_set(typed: bytes) -> bytes:
    """Return the descriptor set for Envoy, given the typed one, both as a serialized FileDescriptorSet.

    It has a copy of each service file, in which the package is `<package>.http`, the RPCs without a route are left out,
    and the others take and return HttpBody.
    """
    files = FileDescriptorSet.FromString(typed).file
    derived = FileDescriptorSet(file=[file for file in files if not file.service])
    names = {file.name for file in derived.file}
    for module in (any_pb2, httpbody_pb2):
        if module.DESCRIPTOR.name not in names:
            module.DESCRIPTOR.CopyToProto(derived.file.add())
    for file in files:
        if file.service:
            derived.file.append(_derive_file(file))
    return derived.SerializeToString()


def _derive_file(file: FileDescriptorProto) -> FileDescriptorProto:
    directory, _, name = file.name.rpartition("/")
    derived = FileDescriptorProto(
        name=f"{directory}/http/{name}",
        package=f"{file.package}.http",
        dependency=[annotations_pb2.DESCRIPTOR.name, httpbody_pb2.DESCRIPTOR.name],
        syntax=file.syntax,
    )
    for service in file.service:
        copy = derived.service.add(name=service.name)
        for method in service.method:
            if method.options.HasExtension(annotations_pb2.http):
                copy.method.add().CopyFrom(method)
                copy.method[-1].input_type = copy.method[-1].output_type = HTTP_BODY
                _add_encoded_path(copy.method[-1].options.Extensions[annotations_pb2.http])
    return derived


def _add_encoded_path(rule: http_pb2.HttpRule) -> None:
    """Route a path with a percent-encoded colon as the one with a colon. The transcoder compares them undecoded."""
    for encoded in ("%3A", "%3a") if ":" in rule.post else ():
        rule.additional_bindings.add(post=rule.post.replace(":", encoded), body=rule.body)
