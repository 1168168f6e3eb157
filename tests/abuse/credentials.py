"""What the requests of this process have as credentials, if callers need any."""

import os

VARIABLE = "ABUSE_KEY"
"""The variable with the key. The victim and the attacker are processes of their own."""


def get_credentials() -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers of every request that is to be admitted."""
    key = os.environ.get(VARIABLE)
    return ((b"authorization", f"Bearer {key}".encode()),) if key else ()
