"""Whether callers need credentials: as AUTH says, or else as soon as there has ever been a key."""

import asyncio

from server.access.provider_settings import ProviderSettings
from storage import DatabaseUnavailable
from storage.access_keys import has_keys
from storage.key_finder import KeyFinder

# Workers that are running notice the first key within 5 s.
_LOOK_SECONDS = 2.0


def is_auth_on(auth: bool | None, provider: ProviderSettings | None, url: str) -> bool:
    """Return whether callers need credentials. Revoking the last key changes nothing: its row stays.

    Args:
        auth: what AUTH says, if it says anything.
        provider: the identity provider, if there is one.
        url: the database.

    Raises:
        DatabaseUnavailable: the database is asked, and cannot be reached.
    """
    if auth is not None:
        return auth
    return provider is not None or has_keys(url)


async def watch_for_keys(keys: KeyFinder) -> None:
    """Return as soon as there has ever been a key."""
    while True:
        try:
            if await keys.has_keys():
                return
        except DatabaseUnavailable:
            pass  # What it would let in, it cannot answer either.
        await asyncio.sleep(_LOOK_SECONDS)
