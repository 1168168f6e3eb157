"""The generator of `generated/` (`make generate`): Python stubs, descriptor sets and the OpenAPI document.

protoc needs protos that are not ours: `third_party/` has buf/validate, the wheel of googleapis-common-protos has
google/api and google/rpc, and that of grpcio-tools has google/protobuf.
"""

import argparse
import json
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

import openapi
from http_body import derive_http_set

PROTOS = Path(__file__).resolve().parent
RELEASED_IMAGE = PROTOS / "released.binpb"
"""The descriptors of the last release, with which `check.py` compares the protos."""

ROOTS = (
    PROTOS,
    PROTOS / "third_party",
    Path(sysconfig.get_paths()["purelib"]),
    Path(grpc_tools.__file__).parent / "_proto",
)
"""The directories in which an import is looked for, in this order."""

FILES = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "data_analytics").rglob("*.proto"))
SERVICE_FILES = [name for name in FILES if name.endswith("_service.proto")]
# No proto imports this file, but without it Envoy cannot convert the details of an error to JSON.
ENVOY_FILES = ["google/rpc/error_details.proto"]


def run_protoc(*arguments: str) -> None:
    """Run protoc with access to every import, and exit with its status if it fails."""
    if status := protoc.main(["protoc", *[f"-I{path}" for path in ROOTS], *arguments]):
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
