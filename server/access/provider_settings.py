"""Which identity provider there is."""

from typing import NamedTuple
from urllib.parse import urlsplit


class ProviderSettings(NamedTuple):
    """The identity provider whose tokens are accepted."""

    issuer: str
    audience: str
    jwks_file: str = ""
    jwks_url: str = ""
    """One of the two is empty."""


def check_url(url: str) -> None:
    """Raise ValueError if keys may not be fetched from that URL: anybody on the way could replace them."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")):
        return
    raise ValueError("it must begin with https://")
