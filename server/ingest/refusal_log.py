"""What was refused, on its way to the database: within bounds, once a second at most, and not in the way of events."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

import psycopg2

from server.sharing.shares import Shares
from storage import DatabaseUnavailable, Refusal, Refusals

log = logging.getLogger(__name__)

# What comes alone is written at once.
_PAUSE_SECONDS = 1.0

# Of refusals, and of replays. So that is what one customer can have kept a second.
_MAX_EACH = 20

# Of all customers. As more of them wait, fewer of each do: see `Shares`.
_MAX_WAITING = 2_000

# A statement or two for each.
_MAX_CUSTOMERS = 50

_LOG_SECONDS = 60.0


class _Waiting:
    """The refusals of one customer that are not in the database yet, or its replays."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []
        self.omitted = 0
        """How many more there were."""


class RefusalLog:
    """The refusals of one server that are still to be kept. What waits is lost if the process dies.

    Belongs to one event loop.
    """

    def __init__(self, refusals: Refusals) -> None:
        """Create it empty. Call `start` before anything is added."""
        self._refusals = refusals
        self._waiting: dict[tuple[str, bool], _Waiting] = {}
        """By customer, and by whether they are replays, those whose turn is next first."""
        self._shares = Shares(_MAX_WAITING)
        self._lost = 0
        self._logged_at = float("-inf")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        """Begin to write to the database."""
        self._task = asyncio.create_task(self._run())

    def add(self, customer_id: str, make: Callable[[], Refusal], *, is_replay: bool = False) -> None:
        """Add a refusal of a customer, or a replay. If there is no room for it, it is only counted.

        Args:
            customer_id: the customer.
            make: returns it. Called only if there is room.
            is_replay: whether it is a replay.
        """
        key = customer_id, is_replay
        waiting = self._waiting.get(key)
        if waiting is not None and len(waiting.refusals) >= _MAX_EACH:
            waiting.omitted += 1
        elif self._shares.take(customer_id):
            refusal = make()
            if waiting is None:
                waiting = self._waiting[key] = _Waiting()
                self._wake.set()
            waiting.refusals.append(refusal)
        elif waiting is not None:
            waiting.omitted += 1
        else:
            self._lost += 1

    async def close(self) -> None:
        """Write all that waits, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with contextlib.suppress(DatabaseUnavailable):
            await self._flush(len(self._waiting))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            with contextlib.suppress(DatabaseUnavailable):  # They wait for the next time.
                await self._flush(_MAX_CUSTOMERS)
            self._log_lost()
            await asyncio.sleep(_PAUSE_SECONDS)
            if self._waiting:
                self._wake.set()

    async def _flush(self, most: int) -> None:
        """Write what waits, of so many customers at most.

        Raises:
            DatabaseUnavailable: the database cannot be reached. What was not written waits on.
        """
        for key in list(self._waiting)[:most]:
            waiting = self._waiting.pop(key)
            customer_id, _ = key
            last = waiting.refusals[-1]._replace(omitted=waiting.omitted)
            try:
                await self._refusals.keep(customer_id, [*waiting.refusals[:-1], last])
            except (DatabaseUnavailable, asyncio.CancelledError):
                self._put_back(key, waiting)
                raise
            except psycopg2.Error as error:  # Its text may quote what a caller sent.
                log.error("refusals could not be kept", extra={"sqlstate": error.pgcode})
                self._lost += len(waiting.refusals) + waiting.omitted
            except Exception:
                log.exception("unexpected error while refusals are kept")
                self._lost += len(waiting.refusals) + waiting.omitted
            self._shares.give_back(customer_id, len(waiting.refusals))

    def _put_back(self, key: tuple[str, bool], waiting: _Waiting) -> None:
        """Let refusals wait again, with those that have been added meanwhile."""
        if later := self._waiting.get(key):
            waiting.refusals += later.refusals
            dropped = len(waiting.refusals) - _MAX_EACH
            if dropped > 0:
                del waiting.refusals[_MAX_EACH:]
                self._shares.give_back(key[0], dropped)
            waiting.omitted += later.omitted + max(dropped, 0)
        self._waiting[key] = waiting

    def _log_lost(self) -> None:
        now = self._loop.time()
        if self._lost and now - self._logged_at > _LOG_SECONDS:
            self._logged_at = now
            log.warning("refusals not kept since the start", extra={"refusals": self._lost})
