"""The limit on open files, which also limits how many connections a process can hold."""

import resource

from server.transport.options import MAX_CONNECTIONS
from server.variables import ConfigurationError

# For everything that is no connection of a caller's: listeners, logs, connections to the database and to the workers.
_RESERVED_FILES = 200
_LEAST_FILES = 256


def raise_limit() -> int:
    """Raise the limit on open files to the highest that this process may have, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def limit_connections(open_files: int) -> int:
    """Return how many connections a process that may open so many files can accept, at most `MAX_CONNECTIONS`.

    Raises:
        ConfigurationError: too few files are left for a process to work at all.
    """
    if open_files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    if open_files < _LEAST_FILES:
        raise ConfigurationError(
            f"the hard limit on open files (ulimit -Hn) is {open_files}: at least {_LEAST_FILES} are needed"
        )
    return min(MAX_CONNECTIONS, open_files - _RESERVED_FILES)
