"""The files in docs/deploy/, as far as they can be tried where there is neither systemd nor a cluster."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

DEPLOY = ROOT / "docs" / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VARIABLE = re.compile(r"\b(?:name: |Environment=|\s)([A-Z]+(?:_[A-Z]+)+)\b")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze on the PATH")
    copy = tmp_path / unit.name.replace("@", "@50051")
    # It looks for the programs, which are installed elsewhere.
    copy.write_text(re.sub(r"(?<==)/srv/analytics/.venv/bin/\w+", "/bin/true", unit.read_text()))
    ran = subprocess.run([program, "verify", copy], capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_hadolint_finds_nothing_wrong_with_the_image() -> None:
    program = Path(sys.executable).with_name("hadolint")
    ran = subprocess.run([program, DEPLOY / "Containerfile"], capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_every_variable_is_one_that_is_documented() -> None:
    documented = (ROOT / "docs/operations.md").read_text()
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    assert len(files) >= 10
    for path in files:
        for name in VARIABLE.findall(path.read_text()):
            assert name.startswith(("PYTHON", "CAP_", "AF_")) or f"`{name}`" in documented, (path.name, name)


def test_the_image_listens_where_the_pods_expect_it() -> None:
    container = (DEPLOY / "Containerfile").read_text()
    expressions = re.findall(r"-e 's([/#])(.*?)\1(.*?)\1'", container)
    assert len(expressions) == 2
    text = (ROOT / "envoy.yaml").read_text()
    for _, old, new in expressions:
        assert old in text
        text = text.replace(old, new)
    (socket,) = re.findall(r"ENVOY_SOCKET, value: (\S+) }", (DEPLOY / "kubernetes" / "deployment.yaml").read_text())
    assert f"path: {socket} " in text
