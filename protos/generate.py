"""Rebuilds `generated/` from the proto files beside this script: `python protos/generate.py [OUT_DIR]`.

Everything that protoc needs comes out of installed wheels: the google/api and google/rpc files lie in
googleapis-common-protos as text, and validate.proto travels inside protovalidate as a descriptor.
"""

import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2
from grpc_tools import protoc

# Private, but the only place where the wheel keeps validate.proto; protovalidate is pinned to one major version.
from protovalidate._gen.buf.validate import validate_pb

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
    wheels = sysconfig.get_paths()["purelib"]
    status = protoc.main(["protoc", f"-I{PROTOS}", f"-I{wheels}", f"--descriptor_set_in={validate}", *arguments])
    if status:
        sys.exit(status)


def generate(out: Path) -> None:
    """Writes the Python modules, their type stubs and `analytics.binpb` into `out`, replacing what was there."""
    for package in ("analytics", "buf"):
        shutil.rmtree(out / package, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        validate = Path(scratch) / "validate.binpb"
        validate.write_bytes(validate_descriptor_set())
        run_protoc(
            validate, f"--python_out={out}", f"--pyi_out={out}", *MESSAGES, "buf/validate/validate.proto"
        )
        run_protoc(validate, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *SERVICES)
        run_protoc(
            validate, "--include_imports", f"--descriptor_set_out={out / 'analytics.binpb'}", *MESSAGES, *FOR_ENVOY
        )
        # With comments and positions: what `buf lint` reads. Not committed.
        if len(sys.argv) > 2:
            run_protoc(
                validate, "--include_imports", "--include_source_info", f"--descriptor_set_out={sys.argv[2]}", *MESSAGES
            )
    for package in ("analytics", "buf"):
        (out / package / "py.typed").touch()


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else PROTOS.parent / "generated")
