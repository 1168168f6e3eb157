"""Pages of searches, made in parts between which others can have the event loop."""

import asyncio
from collections.abc import Iterator
from typing import Any

from server.messages.search import MAX_PAGE_BYTES
from server.rpc.limits import UnreadPageLimiter
from storage import PageTooLarge


async def join_page(parts: Iterator[bytes], unread_pages: UnreadPageLimiter, context: Any) -> bytes:
    """Return a page as a whole, counted until its call has ended.

    Raises:
        PageTooLarge: it is over `MAX_PAGE_BYTES`.
        TooManyCalls: there are too many large pages that nobody has read.
    """
    page, second = next(parts), next(parts, None)
    if second is not None:
        # One after the other: while it is made, a page takes twice its size.
        async with unread_pages.turn:
            page = await _join_rest([page, second], parts)
    unread_pages.count(len(page), context)
    return page


async def _join_rest(made: list[bytes], parts: Iterator[bytes]) -> bytes:
    size = sum(map(len, made))
    for part in parts:
        made.append(part)
        size += len(part)
        if size > MAX_PAGE_BYTES:
            break
        await asyncio.sleep(0)
    if size > MAX_PAGE_BYTES:
        raise PageTooLarge
    return b"".join(made)
