"""The two wheels: built from the project's files, and installed where there is nothing else of the project."""

import os
import subprocess
import sys
from pathlib import Path


def build_wheels(root: Path, out: Path, *, time: int) -> list[Path]:
    """Return the wheels of the server and of the stubs. Their files have one time, so that all build the same."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(out)]
    for project in (root / "generated", root):
        environment = {**os.environ, "SOURCE_DATE_EPOCH": str(time)}
        subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)
    return sorted(out.glob("*.whl"))


def install_wheels(wheels: list[Path], lock: Path, directory: Path) -> Path:
    """Install wheels, with the packages that a lock file lists, in a new environment, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    python = directory / "bin" / "python"
    pip = [str(python), "-W", "ignore", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "--only-binary", ":all:", "--requirement", lock], check=True)
    subprocess.run([*pip, "--no-index", "--no-deps", *wheels], check=True)
    return python
