"""Rebuilds `generated/` from the proto files beside this script: `make generate`.

Everything that protoc needs comes out of installed wheels: the google/api and google/rpc files lie in
googleapis-common-protos as text, and validate.proto travels inside protovalidate as a descriptor.
"""

import argparse
import json
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import grpc_tools
from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from grpc_tools import protoc

# Private, but the only place where the wheel keeps validate.proto; protovalidate is pinned to one major version.
from protovalidate._gen.buf.validate import validate_pb

import openapi

PROTOS = Path(__file__).resolve().parent
SERVICES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*_service.proto"))
MESSAGES = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
# Nothing imports this file, but without it Envoy could not turn the details of an error into JSON.
FOR_ENVOY = ["google/rpc/error_details.proto"]


def validate_descriptor_set() -> bytes:
    """The FileDescriptorSet of buf/validate/validate.proto and of what it imports, serialised."""
    files = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return files.SerializeToString()


def run_protoc(validate: Path, *arguments: str) -> None:
    """Runs protoc with every import in reach, and ends the program with its status if it fails."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    sources = [f"-I{path}" for path in (PROTOS, sysconfig.get_paths()["purelib"], well_known)]
    status = protoc.main(["protoc", *sources, f"--descriptor_set_in={validate}", *arguments])
    if status:
        sys.exit(status)


def generate(out: Path) -> None:
    """Writes the Python modules and type stubs, `analytics.binpb` and `openapi.json` into `out`, over the old."""
    plugin = f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}"
    with tempfile.TemporaryDirectory() as scratch:
        validate = Path(scratch) / "validate.binpb"
        validate.write_bytes(validate_descriptor_set())
        made = Path(scratch) / "made"
        made.mkdir()
        run_protoc(validate, f"--python_out={made}", f"--pyi_out={made}", *MESSAGES, "buf/validate/validate.proto")
        run_protoc(validate, f"--grpc_python_out={made}", plugin, f"--mypy_grpc_out=quiet:{made}", *SERVICES)
        image = f"--descriptor_set_out={made / 'analytics.binpb'}"
        run_protoc(validate, "--include_imports", image, *MESSAGES, *FOR_ENVOY)
        described = Path(scratch) / "described.binpb"
        write_described_image(validate, described)
        document = openapi.Document(described.read_bytes()).make()
        (made / "openapi.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        for package in ("data_analytics", "buf"):
            (made / package / "py.typed").touch()
            shutil.rmtree(out / package, ignore_errors=True)
        shutil.copytree(made, out, dirs_exist_ok=True)


def write_described_image(validate: Path, out: Path) -> None:
    """Writes a descriptor set with comments and positions to the file `out`."""
    image = ("--include_imports", "--include_source_info", f"--descriptor_set_out={out}")
    run_protoc(validate, *image, *MESSAGES, *FOR_ENVOY)


def write_lint_image(out: Path) -> None:
    """Writes what `buf lint` reads to the file `out`."""
    with tempfile.TemporaryDirectory() as scratch:
        validate = Path(scratch) / "validate.binpb"
        validate.write_bytes(validate_descriptor_set())
        write_described_image(validate, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Rebuild generated/ from the protos.")
    parser.add_argument("--out", type=Path, default=PROTOS.parent / "generated", help="where to write the stubs")
    parser.add_argument("--lint-image", type=Path, help="only write this descriptor set, for buf")
    options = parser.parse_args()
    if options.lint_image:
        write_lint_image(options.lint_image)
    else:
        generate(options.out)
