"""How much the callers of one key may write, in events and bytes a second, on all workers together."""

import asyncio
import math
import time
from typing import NamedTuple

from storage.key_finder import KeyFinder

# What a worker takes from the bucket at a time, in seconds of the rate. Little, because what it does not spend is
# missing elsewhere; and enough that few calls wait for the database.
_TAKEN_SECONDS = 0.1

# How often a worker asks for more while the bucket is empty.
_PAUSE_SECONDS = 0.05

# How long a chunk waits, so that a stream holds its place no longer without being served than one that is silent.
_MOST_WAITING_SECONDS = 30.0

_UNLIMITED = 1e15


class Rate(NamedTuple):
    """What is allowed a second. None is no limit."""

    events: int | None
    bytes: int | None


class OverRate(Exception):
    """The key has written as much as it may for now. Nothing was stored."""

    def __init__(self, retry_seconds: int = 1, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__()
        self.retry_seconds = retry_seconds
        self.headers = headers
        """The `RateLimit` headers of the IETF's draft."""


class Meter:
    """What is left for the calls of one key on this worker. Belongs to one event loop.

    A call may begin as long as anything is left. What it takes beyond that is missing to the next ones, so that a large
    batch is not refused for ever.
    """

    def __init__(self, keys: KeyFinder, key_id: str, rate: Rate) -> None:
        """Create it empty.

        Args:
            keys: where the bucket of the key is.
            key_id: the key.
            rate: what it may write.
        """
        self.rate = rate
        self._keys = keys
        self._key_id = key_id
        self._rates = (float(rate.events or _UNLIMITED), float(rate.bytes or _UNLIMITED))
        self._events = self._bytes = 0.0
        self._empty_until = 0.0
        self._taking: asyncio.Task[None] | None = None

    async def spend(self, events: int, byte_size: int) -> None:
        """Count what a call writes.

        Raises:
            OverRate: nothing is left.
            DatabaseUnavailable: nobody can tell.
        """
        if not self._has_any():
            if time.monotonic() >= self._empty_until:
                if self._taking is None:
                    self._taking = asyncio.create_task(self._take())
                await asyncio.shield(self._taking)
            if not self._has_any():
                raise self._make_error()
        self._events -= events
        self._bytes -= byte_size

    def count(self, events: int) -> None:
        """Count events of a batch whose bytes were counted by `spend` before it was read."""
        self._events -= events

    async def wait(self, events: int, byte_size: int) -> None:
        """Count what a chunk of a stream writes, as soon as there is anything left.

        Raises:
            OverRate: there is nothing for too long.
            DatabaseUnavailable: nobody can tell.
        """
        end = time.monotonic() + _MOST_WAITING_SECONDS
        while True:
            try:
                await self.spend(events, byte_size)
            except OverRate:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return

    def _has_any(self) -> bool:
        return self._events > 0 and self._bytes > 0

    async def _take(self) -> None:
        """Take from the bucket what the next calls spend, and what earlier ones have spent already."""
        try:
            events_rate, bytes_rate = self._rates
            wanted = (
                max(events_rate * _TAKEN_SECONDS, 1.0) - self._events,
                max(bytes_rate * _TAKEN_SECONDS, 1.0) - self._bytes,
            )
            events, bytes_ = await self._keys.take(self._key_id, self._rates, wanted)
            self._events += events
            self._bytes += bytes_
            if not self._has_any():
                self._empty_until = time.monotonic() + _PAUSE_SECONDS
        finally:
            self._taking = None

    def _make_error(self) -> OverRate:
        missing = {"events": (self._events, self.rate.events), "bytes": (self._bytes, self.rate.bytes)}
        limits = {name: (left, rate) for name, (left, rate) in missing.items() if rate}
        seconds = max([1, *(math.ceil(-left / rate) for left, rate in limits.values())])
        policy = ", ".join(f'"{name}";q={rate};w=1' for name, (_, rate) in limits.items())
        state = ", ".join(f'"{name}";r=0;t={seconds}' for name, (left, _) in limits.items() if left <= 0)
        return OverRate(seconds, (("ratelimit-policy", policy), ("ratelimit", state)))
