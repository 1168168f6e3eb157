"""What is kept of events, so that an answer need not read all of them from their table.

It is kept in the background, on one connection, when somebody has asked for it. What is kept is right for as long as it
is there:

- Only events that are closed are read: those of a time that gets no further event. The transaction that stores an event
  begins at most `storage.copier.LATEST_SECONDS` after the event was given its time. A time is closed an hour later,
  once those transactions have ended that were writing then.
- With the events, `erase_step` deletes what is kept of them, in the same transaction. Nothing is kept while an erasure
  of the customer is not finished. An erasure that begins later finds the claim, a row that is stored before the events
  are read. What was read is kept only if that row is still there.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import psycopg2

from storage.async_connection import AsyncConnection
from storage.cluster import IS_CLUSTER
from storage.copier import SESSION
from storage.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

CLOSED_MILLISECONDS = 3_600_000
"""How long after its end a time is closed, if no transaction is writing."""

_STATEMENT_SECONDS = 10.0
_WRITERS_SECONDS = 5.0

# What is lost with a machine is kept anew. So nothing waits for a standby, or hangs while that is away.
# A session that does nothing for long is that of a server that hangs or is cut off, and may have a lock.
_SETTINGS = SESSION | {
    "synchronous_commit": "local",
    "statement_timeout": f"{_STATEMENT_SECONDS:.0f}s",
    "idle_session_timeout": "60s",
}

_COUNT_ERASURES = "SELECT count(*) FROM erasure WHERE customer_id = %s AND finished_at IS NULL"

# What writes locks the table before it writes, and everybody may see that.
_FIND_WRITERS = """
SELECT virtualtransaction FROM pg_locks WHERE relation = 'analytics_event'::regclass AND mode = 'RowExclusiveLock'
"""
# On Citus, it locks the table at the node that it has come to, and a part of it where a customer's events are.
_FIND_WRITERS_OF_NODES = """
SELECT nodeid, success, result FROM run_command_on_all_nodes($$
  SELECT coalesce(string_agg(virtualtransaction, ' '), '') FROM pg_locks JOIN pg_class ON pg_class.oid = relation
  WHERE relname ~ '^analytics_event(_[0-9]+)?$' AND mode = 'RowExclusiveLock'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
$$)
"""


class Keeper(ABC):
    """What keeps one kind of thing, for one event loop. It has the connection while there is something to do."""

    def __init__(self, url: str, kind: str) -> None:
        """Prepare to connect.

        Args:
            url: a libpq connection URI or string of a database that can be written to.
            kind: what it keeps, in the plural, for the log and the database's list of connections.
        """
        self._url = url
        self._kind = kind
        self._task: asyncio.Task[None] | None = None
        self._connection: AsyncConnection | None = None
        self._is_cluster = False
        self._is_closed = False
        self._loop = asyncio.get_running_loop()

    def disconnect(self) -> None:
        """Close the connection. What is in flight fails, and the work ends."""
        if self._connection is not None:
            self._connection.close()

    async def settle(self) -> None:
        """Wait until there is nothing to do."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stop working, for good."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def begin(self) -> None:
        """Have `take_turn` called until there is nothing to do, unless that is so already."""
        if self._task is None and not self._is_closed:
            self._task = self._loop.create_task(self._work())

    @abstractmethod
    async def take_turn(self) -> bool:
        """Do a part of what was asked for. Return whether to go on."""

    @abstractmethod
    def forget(self) -> None:
        """Forget what was asked for. Whoever needs it asks again."""

    async def execute(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Execute a statement on the connection and return its rows. Raises as `AsyncConnection.execute` does."""
        assert self._connection is not None
        async with asyncio.timeout(_STATEMENT_SECONDS + 1):
            return await self._connection.execute(sql, values)

    async def outlast_writers(self, customer_id: str) -> bool:
        """Wait for the transactions that are writing. Return whether no erasure of the customer is unfinished.

        Then all events are there that a closed time will have. To be called after the claim.

        Raises:
            TimeoutError: a transaction is writing for too long.
            DatabaseUnavailable: a node of a cluster cannot be asked.
        """
        ((erasures,),) = await self.execute(_COUNT_ERASURES, (customer_id,))
        if erasures:
            return False
        end = self._loop.time() + _WRITERS_SECONDS
        # One that is prepared meanwhile may have another name from then on, by which it is found the second time.
        for _ in range(2):
            if not (writers := await self._find_writers()):
                return True
            while writers:
                if self._loop.time() > end:
                    raise TimeoutError("a transaction is writing for too long")
                await asyncio.sleep(0.05)
                writers &= await self._find_writers()
        return True

    async def _find_writers(self) -> set[tuple[int, str]]:
        """Return the transactions that are writing, on whichever node."""
        if not self._is_cluster:
            return {(0, name) for (name,) in await self.execute(_FIND_WRITERS, ())}
        writers = set()
        for node, is_answered, names in await self.execute(_FIND_WRITERS_OF_NODES, ()):
            if not is_answered:
                raise DatabaseUnavailable(f"node {node} does not answer")
            writers |= {(node, name) for name in names.split()}
        return writers

    async def _work(self) -> None:
        """Do what was asked for.

        All of it happens on one connection. A database that takes over from this one may lack an event, or an erasure.
        """
        try:
            self._connection = await AsyncConnection.open(self._url, f"analytics {self._kind}", _SETTINGS)
            ((self._is_cluster,),) = await self.execute(IS_CLUSTER, ())
            start = self._loop.time()
            while await self.take_turn():
                await asyncio.sleep(self._loop.time() - start)  # Half of the time is for who writes and searches.
                start = self._loop.time()
        except (DatabaseUnavailable, TimeoutError, psycopg2.Error) as error:
            # All answers are right without.
            reason = str(getattr(error, "pgcode", None) or error).partition("\n")[0]
            log.warning("%s are not kept", self._kind, extra={"reason": reason})
        except Exception:  # Nobody awaits this task, so the log is where a fault of ours shows.
            log.exception("unexpected error in what keeps %s", self._kind)
        finally:
            self.forget()
            self._task = None
            self.disconnect()
            self._connection = None
