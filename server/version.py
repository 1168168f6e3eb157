"""The version of what runs."""

import importlib.metadata

PACKAGE = "data-analytics-service"


def find_version() -> str:
    """Return the version of the package that is installed, or "unknown" if none is."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
