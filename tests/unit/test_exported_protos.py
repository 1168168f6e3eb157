"""The folder that `make protos` writes: it is complete, and compilers of other languages take it as it is."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc
from protovalidate._gen.buf.validate import validate_pb

from tests.support.languages import export_protos, find_program

VALIDATE = "buf/validate/validate.proto"
# Debian's Go packages are of the time before modules.
GO_PATH = Path("/usr/share/gocode")
GO_PACKAGES = (
    "google.golang.org/protobuf/proto",
    "google.golang.org/grpc",
    "google.golang.org/genproto/googleapis/api",
)


@pytest.fixture(scope="module")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_protos(tmp_path_factory.mktemp("exported") / "protos")


def list_files(protos: Path, *directories: str) -> list[str]:
    """Return the names of the protos in some of the directories."""
    return [str(path.relative_to(protos)) for name in directories for path in sorted((protos / name).rglob("*.proto"))]


def run_compiler(protos: Path, *arguments: str) -> None:
    """Run Debian's protoc, which has to print nothing."""
    command = [find_program("protoc"), f"-I{protos}", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_the_folder_needs_no_other(protos: Path, tmp_path: Path) -> None:
    files = list_files(protos, ".")
    assert {name.split("/")[0] for name in files} == {"buf", "data_analytics", "google"}
    image = tmp_path / "image.binpb"
    # Called like this, protoc knows no directory but the one that it is given.
    assert protoc.main(["protoc", f"-I{protos}", f"--descriptor_set_out={image}", *files]) == 0
    assert {file.name for file in FileDescriptorSet.FromString(image.read_bytes()).file} == set(files)


def test_the_folder_has_the_details_of_refusals(protos: Path) -> None:
    text = (protos / "google" / "rpc" / "error_details.proto").read_text()
    assert {"BadRequest", "RetryInfo"} <= set(re.findall(r"^message (\w+)", text, re.MULTILINE))


def test_the_rules_are_those_that_the_server_checks(protos: Path, tmp_path: Path) -> None:
    image = tmp_path / "image.binpb"
    assert protoc.main(["protoc", f"-I{protos}", f"--descriptor_set_out={image}", VALIDATE]) == 0
    (ours,) = FileDescriptorSet.FromString(image.read_bytes()).file
    theirs = FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    # These say how other languages name what they generate.
    for file in (ours, theirs):
        file.ClearField("options")
    assert ours == theirs


def test_java_gets_a_class_for_each_message_and_service(protos: Path, tmp_path: Path) -> None:
    run_compiler(protos, f"--java_out={tmp_path}", *list_files(protos, "."))
    made = {path.stem for path in (tmp_path / "com" / "dataanalytics" / "v1").glob("*.java")}
    assert {"CreateLeadAnalyticsEventRequest", "WriteAnalyticsEventsResponse", "Erasure", "RecordedEvent"} <= made
    assert (tmp_path / "com" / "google" / "rpc" / "RetryInfo.java").exists()


def generate_go(protos: Path, out: Path) -> None:
    """Write the messages and clients for Go."""
    for plugin in ("protoc-gen-go", "protoc-gen-go-grpc"):
        find_program(plugin)
    out.mkdir(parents=True)
    files = list_files(protos, "data_analytics", "buf")
    run_compiler(protos, f"--go_out={out}", f"--go-grpc_out={out}", *files)


def test_go_gets_a_client_for_each_service(protos: Path, tmp_path: Path) -> None:
    generate_go(protos, tmp_path / "src")
    made = "".join(path.read_text() for path in (tmp_path / "src" / "dataanalytics" / "v1").glob("*_grpc.pb.go"))
    assert set(re.findall(r"^func New(\w+)Client\(", made, re.MULTILINE)) == {
        "AnalyticsEventService",
        "ContactAnalyticsService",
        "LeadAnalyticsService",
    }


@pytest.mark.timeout(300)
def test_go_compiles_what_it_gets(protos: Path, tmp_path: Path) -> None:
    # CI does not install them: Go and these packages take 600 MB.
    go = shutil.which("go")
    if go is None or not all((GO_PATH / "src" / package).exists() for package in GO_PACKAGES):
        pytest.skip("Debian's golang-go, golang-google-grpc-dev, -genproto-dev and -protobuf-dev are not all installed")
    generate_go(protos, tmp_path / "src")
    own = {"GO111MODULE": "off", "GOPATH": f"{tmp_path}:{GO_PATH}"}
    command = [go, "build", "dataanalytics/v1"]
    ran = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=280, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
