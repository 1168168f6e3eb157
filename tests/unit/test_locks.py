"""The files in locks/, from which everything is installed."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.processes import ROOT

LOCKS = sorted((ROOT / "locks").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
STUBS = tomllib.loads((ROOT / "generated" / "pyproject.toml").read_text())
OURS = {PROJECT["project"]["name"], STUBS["project"]["name"]}

_ENTRY = re.compile(r"^([\w.-]+)==(\S+)(?: ; .*?)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def read_versions(lock: Path) -> dict[str, str]:
    """Return the version of each package in a lock file."""
    return {canonicalize_name(name): version for name, version, _ in _ENTRY.findall(lock.read_text())}


def is_met(requirement: str, versions: dict[str, str]) -> bool:
    """Return whether a lock file has a version that a project asks for."""
    wanted = Requirement(requirement)
    name = canonicalize_name(wanted.name)
    return name in OURS or (name in versions and wanted.specifier.contains(versions[name]))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_has_versions_with_hashes_and_nothing_else(lock: Path) -> None:
    rest = _ENTRY.sub("", lock.read_text())
    assert [line for line in rest.splitlines() if line and not line.startswith("#")] == []
    assert read_versions(lock)


def test_the_locks_agree_on_versions() -> None:
    versions: dict[str, set[str]] = {}
    for lock in LOCKS:
        for name, version in read_versions(lock).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("server.txt", ["stack"]),
        ("tracing.txt", ["tracing"]),
        ("dev.txt", ["stack", "tracing", "dev"]),
        ("bench.txt", ["bench"]),
    ],
)
def test_a_lock_has_what_the_projects_ask_for(lock: str, extras: list[str]) -> None:
    versions = read_versions(ROOT / "locks" / lock)
    wanted = [*PROJECT["project"]["dependencies"], *STUBS["project"]["dependencies"]]
    wanted += [each for extra in extras for each in PROJECT["project"]["optional-dependencies"][extra]]
    assert [each for each in wanted if not is_met(each, versions)] == []


def test_the_build_backends_are_locked() -> None:
    versions = read_versions(ROOT / "locks" / "build.txt")
    wanted = [*PROJECT["build-system"]["requires"], *STUBS["build-system"]["requires"]]
    wanted += PROJECT["dependency-groups"]["build"]
    assert [each for each in wanted if not is_met(each, versions)] == []
