"""The environment variables of libpq, PostgreSQL's client library."""

import os

_PREFIX = "PG"


def forget_variables() -> None:
    """Remove PGHOST, PGSERVICE, PGOPTIONS and all their like from the environment of this process.

    The user's shell sets them for another PostgreSQL than the embedded one. Connections of this process and of the
    processes that it starts would follow them: an address would lead elsewhere, and a requirement might never be met.
    """
    for name in [name for name in os.environ if name.startswith(_PREFIX)]:
        del os.environ[name]
