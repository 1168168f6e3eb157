"""The erasures of one server: it begins those that callers ask for, and works on whichever no other server works on."""

import asyncio
import contextlib
import logging
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import psycopg2
import uuid_utils
from psycopg2.errorcodes import OBJECT_NOT_IN_PREREQUISITE_STATE, PROGRAM_LIMIT_EXCEEDED

from storage.availability import Availability
from storage.copier import SESSION
from storage.erasure import (
    BEGIN,
    COUNT_BLOCKED,
    FIND,
    FIND_BLOCKED,
    FIND_DUE,
    IS_PAST,
    STEP,
    STEP_EVENTS,
    Erasure,
    Receipt,
    make_values,
)
from storage.errors import DatabaseUnavailable, TooManyBlocked, TooManyErasures, WriteFailed
from storage.housekeeping import keep_house
from storage.single_connection import SingleConnection

log = logging.getLogger(__name__)

# A user who is blocked is refused by all servers after this and a step at the latest.
_POLL_SECONDS = 2.0

_HOUSEKEEPING_SECONDS = 3600.0

# Less than the lease of 10 s, so that nobody else works on what this server still waits for.
_STATEMENT_SECONDS = 8.0


class Erasures:
    """The erasures, the blocked users and the retention, on one connection. Belongs to one event loop."""

    def __init__(
        self, url: str, availability: Availability, retention_days: int = 0, *, settle_seconds: float = 0.0
    ) -> None:
        """Prepare to work.

        Args:
            url: a libpq connection URI or string.
            availability: the state of that database. A commit that hangs would take a connection of its own each time.
            retention_days: how old events become before they are erased. 0 means that they stay.
            settle_seconds: how long after the end of an erasure a search may still find something in a replica. Until
                then, it counts as not finished.
        """
        self.blocked: Mapping[str, AbstractSet[str]] = {}
        """By customer, the users whose events are refused."""
        self._availability = availability
        self._retention_days = retention_days
        self._settle_seconds = settle_seconds
        self._name = str(uuid.uuid4())
        settings = SESSION | {"enable_seqscan": "off"}
        self._connection = SingleConnection(url, "analytics erasures", settings, _STATEMENT_SECONDS)
        self._execute = self._connection.execute
        self._wake = asyncio.Event()
        self._known_blocked: Any = None
        self._house: AsyncIterator[None] | None = None
        self._next_housekeeping = 0.0
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Find out which users are blocked, and begin to work."""
        with contextlib.suppress(DatabaseUnavailable, psycopg2.Error):
            await self._refresh_blocked()
        self._task = asyncio.create_task(self._run())

    async def begin(self, erasure: Erasure, requested_by: str) -> Receipt:
        """Write the receipt of an erasure, which from then on is carried out whatever happens, and return it.

        Raises:
            TooManyBlocked: there are too many blocked users.
            TooManyErasures: the customer has too many that are not finished.
            DatabaseUnavailable: the database cannot be reached.
            WriteFailed: the database answered with an unexpected error.
        """
        if (fault := self._availability.write_fault) is not None:
            raise fault
        receipt_id = str(uuid_utils.uuid7())
        try:
            await self._execute(BEGIN, make_values(erasure, receipt_id, requested_by))
            receipt = await self.find(erasure.customer_id, receipt_id)
        except psycopg2.Error as error:
            if error.pgcode == PROGRAM_LIMIT_EXCEEDED:
                raise TooManyBlocked from None
            if error.pgcode == OBJECT_NOT_IN_PREREQUISITE_STATE:
                raise TooManyErasures from None
            log.error("an erasure could not begin", extra={"sqlstate": error.pgcode})
            raise WriteFailed from None
        assert receipt is not None
        self._wake.set()
        return receipt

    async def find(self, customer_id: str, receipt_id: str) -> Receipt | None:
        """Return a customer's receipt with this id, a UUID, or None.

        Raises:
            DatabaseUnavailable: the database cannot be reached.
        """
        rows = await self._execute(FIND, (customer_id, receipt_id))
        if not rows:
            return None
        receipt = Receipt._make(rows[0])
        if receipt.finished_at and self._settle_seconds:
            ((is_settled,),) = await self._execute(IS_PAST, (self._settle_seconds, receipt.finished_at))
            if not is_settled:
                return receipt._replace(finished_at="")
        return receipt

    def disconnect(self) -> None:
        """Close the connection. What is in flight raises DatabaseUnavailable."""
        self._connection.disconnect()

    async def close(self) -> None:
        """Stop working. Another server goes on with what is unfinished as soon as the lease ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self.disconnect()

    async def _run(self) -> None:
        while True:
            is_busy = False
            try:
                await self._refresh_blocked()
                if self._availability.write_fault is None:
                    is_busy = await self._advance()
                    is_busy |= await self._keep_house()
            except DatabaseUnavailable:  # Whoever watches the database logs that.
                self._house = None
            except psycopg2.Error as error:
                log.warning("erasures wait", extra={"sqlstate": error.pgcode})
                self._house = None
            except Exception:
                log.exception("unexpected error in the work on erasures")
                self._house = None
            if not is_busy:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await self._wake.wait()
            self._wake.clear()

    async def _refresh_blocked(self) -> None:
        (known,) = await self._execute(COUNT_BLOCKED)
        if known == self._known_blocked:
            return
        blocked: dict[str, set[str]] = defaultdict(set)
        for customer, user in await self._execute(FIND_BLOCKED):
            blocked[customer].add(user)
        self.blocked = dict(blocked)
        self._known_blocked = known

    async def _advance(self) -> bool:
        """Take one step for each customer, unless another server is at it. Return whether there was one."""
        due = await self._execute(FIND_DUE, [self._name])
        for customer, receipt_id in due:
            start = self._loop.time()
            ((_, is_finished),) = await self._execute(STEP, (customer, receipt_id, self._name, STEP_EVENTS))
            if is_finished:
                receipt = await self.find(customer, receipt_id)
                erased = receipt.erased_count if receipt is not None else 0
                log.info("events erased", extra={"erasure": receipt_id, "events_in_all": erased})
            await asyncio.sleep(self._loop.time() - start)  # Half of the time is for those who write and search.
        return bool(due)

    async def _keep_house(self) -> bool:
        """Do a little of what is due every hour. Return whether there is more of it."""
        if self._house is None:
            if self._loop.time() < self._next_housekeeping:
                return False
            self._house = keep_house(self._execute, self._retention_days)
        if await anext(self._house, "done") != "done":
            return True
        self._house = None
        self._next_housekeeping = self._loop.time() + _HOUSEKEEPING_SECONDS
        return False
