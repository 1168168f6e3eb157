"""What a release has in it, and what keeps one from being made."""

import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.release.sources import NotReadyError, check_commit, export_commit, read_version
from tests.release.wheels import build_wheels
from tests.support.processes import ROOT


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Return the names of the files in each wheel, without their metadata, by the name of the distribution."""
    return {
        path.name.partition("-")[0]: {name for name in zipfile.ZipFile(path).namelist() if ".dist-info/" not in name}
        for path in build_wheels(ROOT, tmp_path_factory.mktemp("wheels"), time=1_000_000_000)
    }


def list_files(*directories: str, suffix: str = "") -> set[str]:
    """Return the files below some directories of the checkout."""
    files = [file for name in directories for file in (ROOT / name).rglob(f"*{suffix}")]
    return {str(file.relative_to(ROOT)) for file in files if file.is_file() and "__pycache__" not in file.parts}


def test_the_wheel_of_the_server_has_all_modules_and_what_envoy_reads(wheels: dict[str, set[str]]) -> None:
    modules = {name for name in list_files("server", "storage", suffix=".py") if not name.startswith("server/pages/")}
    text = (ROOT / "envoy.yaml").read_text()
    read = set(re.findall(r"filename: ([\w./-]+[\w-])|proto_descriptor: &descriptor (\S+)", text))
    named = {name for pair in read for name in pair if name and not name.startswith(("tls", "./"))}
    assert len(named) > 30
    found = wheels["data_analytics_service"]
    envoys = {name.removeprefix("server/envoy/") for name in found if name.startswith("server/envoy/")}
    assert named - envoys == set()
    others = {"envoy.yaml", "generated/analytics.binpb"}
    beside = {"NOTICE", "LICENSE", "swagger-ui-bundle.js.LICENSE.txt"}
    assert {Path(name).name for name in envoys - named - others} == beside
    assert {name for name in found if not name.startswith("server/envoy/")} == modules


def test_the_wheel_of_the_stubs_has_the_stubs_and_their_types(wheels: dict[str, set[str]]) -> None:
    stubs = {name.removeprefix("generated/") for name in list_files("generated/data_analytics", "generated/buf")}
    assert wheels["data_analytics_service_stubs"] == stubs


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a repository that is ready for a release."""
    root = tmp_path / "checkout"
    version = read_version(ROOT)
    for name in ("pyproject.toml", "generated/pyproject.toml", "docs/deploy/kubernetes/kustomization.yaml"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text((ROOT / name).read_text())
    (root / "CHANGELOG.md").write_text(f"# Changelog\n\n## {version} - 2026-11-26\n\n## 0.0.1 - 2026-01-01\n")
    git(root, "init", "--quiet")
    commit(root)
    return root


def git(root: Path, *arguments: str) -> None:
    """Run git as somebody."""
    somebody = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    subprocess.run(["git", *somebody, *arguments], cwd=root, check=True)


def commit(root: Path) -> None:
    """Commit all that there is."""
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "a commit")


def change(file: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_release_needs_one_version_everywhere(checkout: Path) -> None:
    version = read_version(checkout)
    for name, old in (
        ("generated/pyproject.toml", f'version = "{version}"'),
        ("pyproject.toml", f"stubs=={version}"),
        ("docs/deploy/kubernetes/kustomization.yaml", f"newTag: {version}"),
    ):
        change(checkout / name, old, old.replace(version, "9.9.9"))
        with pytest.raises(NotReadyError, match=re.escape(name)):
            read_version(checkout)
        change(checkout / name, "9.9.9", version)
    assert read_version(checkout) == version


def test_a_release_is_of_a_commit_with_a_dated_and_new_version(checkout: Path, tmp_path: Path) -> None:
    version = read_version(checkout)
    check_commit(checkout, version)
    with pytest.raises(NotReadyError, match=r"CHANGELOG\.md does not begin with 9\.9\.9"):
        check_commit(checkout, "9.9.9")
    (checkout / "stray").touch()
    with pytest.raises(NotReadyError, match=r"not everything is committed: \?\? stray"):
        check_commit(checkout, version)
    export_commit(checkout, tmp_path)
    assert not (tmp_path / "stray").exists()
    assert (tmp_path / "CHANGELOG.md").exists()
    (checkout / "stray").unlink()
    change(checkout / "CHANGELOG.md", "2026-11-26", "unreleased")
    commit(checkout)
    with pytest.raises(NotReadyError, match="and its date"):
        check_commit(checkout, version)
    change(checkout / "CHANGELOG.md", "unreleased", "2026-11-26")
    commit(checkout)
    git(checkout, "tag", f"v{version}")
    with pytest.raises(NotReadyError, match="is there already"):
        check_commit(checkout, version)
