"""Pages of searches, made in parts between which others can have the event loop."""

import asyncio
from collections.abc import Iterable

from server.messages.search import MAX_PAGE_BYTES
from storage import PageTooLarge


async def join_page(parts: Iterable[bytes]) -> bytes:
    """Return a page as a whole.

    Raises:
        PageTooLarge: it is over `MAX_PAGE_BYTES`.
    """
    made: list[bytes] = []
    size = 0
    for part in parts:
        if made:
            await asyncio.sleep(0)
        made.append(part)
        size += len(part)
        if size > MAX_PAGE_BYTES:
            raise PageTooLarge
    return b"".join(made)
