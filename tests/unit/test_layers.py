"""Rules for the source as a whole: its layers, and generated code that is up to date."""

import filecmp
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT


def test_every_layer_imports_only_those_below_it() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    checked = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_the_generated_code_is_what_the_protos_say(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "protos/generate.py", "--out", str(tmp_path)], cwd=ROOT, check=True)
    fresh = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    kept = ROOT / "generated"
    found = sorted(
        path.relative_to(kept)
        for path in kept.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name not in ("pyproject.toml", "README.md")
    )
    assert found == fresh, "run `make generate`"
    stale = [path for path in fresh if not filecmp.cmp(tmp_path / path, kept / path, shallow=False)]
    assert not stale, "run `make generate`"
