"""The programs of other languages, which not every machine has."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.processes import ROOT

NODE = ROOT / "tests" / "node"
"""Where `make test` installs the packages of Node's programs."""


def find_program(name: str) -> str:
    """Return the path of a program that is on the PATH. Otherwise skip the test, or fail if REQUIRE_LANGUAGES is 1."""
    path = shutil.which(name)
    if path is None:
        _miss(f"there is no {name} on the PATH")
    return path


def find_node() -> str:
    """Return the path of Node. Skip the test, or fail it, if there is none, or if its packages are not installed."""
    path = find_program("node")
    if not (NODE / "node_modules" / "@grpc" / "grpc-js").exists():
        _miss("the packages of tests/node are not installed: make test installs them, if there is an npm")
    return path


def start_node(program: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start Node with a program, as text, which may import the packages of `tests/node`."""
    command = [find_node(), "--input-type=module", "--eval", program, *arguments]
    return subprocess.Popen(
        command, cwd=NODE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_node(program: str, *arguments: str) -> str:
    """Run Node with a program, as text, and return what it prints. It has to succeed, and to print no warning."""
    with start_node(program, *arguments) as process:
        try:
            out, err = process.communicate(timeout=50)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    return out


def export_protos(out: Path) -> Path:
    """Write the protos to the directory `out`, as `make protos` does, and return it."""
    command: list[str | Path] = [sys.executable, ROOT / "protos" / "export.py", "--out", out]
    subprocess.run(command, check=True, timeout=30)
    return out


def _miss(message: str) -> NoReturn:
    if os.environ.get("REQUIRE_LANGUAGES") == "1":
        pytest.fail(message)
    pytest.skip(message)
