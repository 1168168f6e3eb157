"""The generator of `generated/` (`make generate`): Python stubs, descriptor sets and the OpenAPI document.

protoc needs protos that are not ours, and installed wheels provide them all: googleapis-common-protos contains
google/api and google/rpc as text, and protovalidate contains validate.proto as a descriptor.
"""

import argparse
import functools
import json
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from grpc_tools import protoc

# A private module, but the only place where the wheel has validate.proto. protovalidate is pinned to a major version.
from protovalidate._gen.buf.validate import validate_pb

import openapi
from http_body import derive_http_set

PROTOS = Path(__file__).resolve().parent
RELEASED_IMAGE = PROTOS / "released.binpb"
"""The descriptors of the last release, with which `check.py` compares the protos."""

SERVICE_FILES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*_service.proto"))
FILES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
# No proto imports this file, but without it Envoy cannot convert the details of an error to JSON.
ENVOY_FILES = ["google/rpc/error_details.proto"]


@functools.cache
def serialize_validate_protos() -> bytes:
    """Return buf/validate/validate.proto and its imports as a serialized FileDescriptorSet."""
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def run_protoc(*arguments: str) -> None:
    """Run protoc with access to every import, and exit with its status if it fails."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    sources = [f"-I{path}" for path in (PROTOS, sysconfig.get_paths()["purelib"], well_known)]
    with tempfile.NamedTemporaryFile(suffix=".binpb") as validate:
        validate.write(serialize_validate_protos())
        validate.flush()
        status = protoc.main(["protoc", *sources, f"--descriptor_set_in={validate.name}", *arguments])
    if status:
        sys.exit(status)


def write_image(path: Path, *, source_info: bool) -> None:
    """Write the descriptors of the protos and of all that they import, as a serialized FileDescriptorSet.

    Args:
        path: the file to write.
        source_info: whether to include comments and line numbers.
    """
    options = ["--include_imports", f"--descriptor_set_out={path}"]
    if source_info:
        options.append("--include_source_info")
    run_protoc(*options, *FILES, *ENVOY_FILES)


def generate(out: Path) -> None:
    """Write the Python stubs, the descriptor sets and `openapi.json` to the directory `out`, replacing older ones."""
    plugin = f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}"
    with tempfile.TemporaryDirectory() as scratch:
        new = Path(scratch) / "new"
        new.mkdir()
        run_protoc(f"--python_out={new}", f"--pyi_out={new}", *FILES, "buf/validate/validate.proto")
        run_protoc(f"--grpc_python_out={new}", plugin, f"--mypy_grpc_out=quiet:{new}", *SERVICE_FILES)
        write_image(new / "analytics.binpb", source_info=False)
        (new / "envoy.binpb").write_bytes(derive_http_set((new / "analytics.binpb").read_bytes()))
        commented = Path(scratch) / "commented.binpb"
        write_image(commented, source_info=True)
        document = openapi.Document(commented.read_bytes()).build()
        (new / "openapi.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        for package in ("data_analytics", "buf"):
            (new / package / "py.typed").touch()
            shutil.rmtree(out / package, ignore_errors=True)
        shutil.copytree(new, out, dirs_exist_ok=True)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Generate generated/ from the protos.")
    parser.add_argument("--out", type=Path, default=PROTOS.parent / "generated", help="where to write")
    parser.add_argument(
        "--release-image",
        action="store_true",
        help=f"only write protos/{RELEASED_IMAGE.name}, for protos/check.py: do this when you cut a release",
    )
    options = parser.parse_args()
    if options.release_image:
        write_image(RELEASED_IMAGE, source_info=False)
    else:
        generate(options.out)


if __name__ == "__main__":
    main()
