"""What a release is made of: the commit that is checked out, and the version that it says it is."""

import re
import subprocess
import tomllib
from pathlib import Path

STUBS = "data-analytics-service-stubs"
_RELEASED = re.compile(r"^## (\S+) - \d{4}-\d{2}-\d{2}$", re.MULTILINE)


class NotReadyError(Exception):
    """Something has to be done before the release; the message is one line that says what."""


def read_version(root: Path) -> str:
    """Return the version in pyproject.toml. Raise NotReadyError if another place has another one."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    version: str = project["version"]
    stubs = tomllib.loads((root / "generated/pyproject.toml").read_text())["project"]["version"]
    if stubs != version:
        raise NotReadyError(f"generated/pyproject.toml has version {stubs}, and pyproject.toml {version}")
    if f"{STUBS}=={version}" not in project["dependencies"]:
        raise NotReadyError(f"pyproject.toml does not depend on {STUBS}=={version}")
    if f"newTag: {version}\n" not in (root / "docs/deploy/kubernetes/kustomization.yaml").read_text():
        raise NotReadyError(f"docs/deploy/kubernetes/kustomization.yaml does not name {version}")
    return version


def check_commit(root: Path, version: str) -> None:
    """Raise NotReadyError unless all is committed, the changelog has the version with its date, and it is a new one."""
    if changes := _run(root, "git", "status", "--porcelain").splitlines():
        raise NotReadyError(f"not everything is committed: {', '.join(changes)}")
    released = _RELEASED.findall((root / "CHANGELOG.md").read_text())
    if released[:1] != [version]:
        raise NotReadyError(
            f"CHANGELOG.md does not begin with {version} and its date, such as ## {version} - 2026-01-31"
        )
    if _run(root, "git", "tag", "--list", f"v{version}"):
        raise NotReadyError(f"v{version} is there already: another release needs another version")


def export_commit(root: Path, directory: Path) -> None:
    """Write the files of the commit to a directory, and nothing that lies beside them."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=root, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", directory], input=archive, check=True)


def _run(root: Path, *command: str) -> str:
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout.rstrip()
