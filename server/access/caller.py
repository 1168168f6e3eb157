"""Who calls, and what that caller may do. Every decision about a customer's data is made here."""

import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from server.access.rates import Meter

WRITE: Final = "events:write"
READ: Final = "events:read"
ERASE: Final = "events:erase"
SCOPES = (WRITE, READ, ERASE)


class Unauthenticated(Exception):
    """A call has no credentials, or none that are valid now. Its text says why, for the log alone."""


class NotPermitted(Exception):
    """The credentials of a call are valid, and do not allow it."""


class ScopeMissing(NotPermitted):
    """The credentials of a call have not the scope that every call of its method needs."""


class OriginNotAllowed(NotPermitted):
    """The key of a call is for pages of other origins, and its `origin` is none of them."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What the credentials of a call allow. Ids are compared as they are: equal strings, and nothing else."""

    name: str
    """For logs: the id of the key, never a secret."""
    customers: frozenset[str] | None
    """Whose events. None means those of all customers."""
    scopes: frozenset[str]
    """Which of `SCOPES`."""
    users: frozenset[str] | None = None
    """Whose events within a customer. None means those of all its users."""
    origins: frozenset[str] | None = None
    """From which web pages, as their `origin` header has it. None means from anywhere."""
    expires_at: float | None = None
    """In seconds since the epoch."""
    meter: Meter | None = field(default=None, compare=False)
    """What its calls spend. None if there is no limit."""
    share: str = ""
    """Whose share of the server's limits the calls take, as `name_share` makes it. Empty if that goes by the customer
    in each request."""

    def may_write(self, customer_id: str, user_id: str) -> bool:
        """Return whether the caller may store an event of this user at this customer."""
        return WRITE in self.scopes and self._is_within(customer_id, user_id)

    def may_write_some(self, customer_id: str) -> bool:
        """Return whether the caller may store events of any user at this customer."""
        return WRITE in self.scopes and (self.customers is None or customer_id in self.customers)

    def may_read(self, customer_id: str, user_id: str) -> bool:
        """Return whether the caller may find the events of this user at this customer."""
        return READ in self.scopes and self._is_within(customer_id, user_id)

    def may_read_some(self, customer_id: str) -> bool:
        """Return whether the caller may find events of any user at this customer."""
        return READ in self.scopes and (self.customers is None or customer_id in self.customers)

    def may_read_all(self, customer_id: str) -> bool:
        """Return whether the caller may find the events of every user at this customer."""
        return READ in self.scopes and self.users is None and self._is_within(customer_id, "")

    def may_erase(self, customer_id: str) -> bool:
        """Return whether the caller may erase events of this customer."""
        return ERASE in self.scopes and self.users is None and self._is_within(customer_id, "")

    @property
    def only_customer(self) -> str:
        """The customer of the caller, or "" if it may act for several."""
        return next(iter(self.customers)) if self.customers is not None and len(self.customers) == 1 else ""

    def find_share(self, customer_id: str) -> str:
        """Return whose share of the server's limits a request takes that seems to be of this customer.

        What a request seems to be is not checked yet: nobody takes the share of a customer by naming it.
        """
        if self.share or self.customers is None:
            return self.share or customer_id
        return customer_id if customer_id in self.customers else name_share(self.name)

    def _is_within(self, customer_id: str, user_id: str) -> bool:
        return (self.customers is None or customer_id in self.customers) and (
            self.users is None or user_id in self.users
        )


ANYONE: Final = Caller("anyone", None, frozenset(SCOPES))
"""The caller of every call while AUTH is off."""

NOBODY: Final = Caller("nobody", frozenset(), frozenset())
"""The caller where none was set, which no call should come to: it may do nothing."""

_caller: ContextVar[Caller] = ContextVar("caller", default=NOBODY)

get_caller = _caller.get
"""Return the caller of the current call."""

set_caller = _caller.set
"""Set the caller of the current call."""


def name_share(key_id: str) -> str:
    """Return the name of the share of a key or token, which no customer has."""
    return f"\0{key_id}"


# How long the verification of a caller holds for one call.
_VALID_SECONDS = 4.5


class Admitted(NamedTuple):
    """When the caller of the current call was verified, and how that is done again."""

    at: float
    """By time.monotonic()."""
    renew: Callable[[], Awaitable[Caller]]


_admitted: ContextVar[Admitted | None] = ContextVar("admitted", default=None)

set_admitted = _admitted.set
"""Set it for the current call."""


async def renew_caller() -> None:
    """Verify the caller of the current call again, if its request has taken long to arrive.

    Raises:
        Unauthenticated: the credentials are no longer valid.
        DatabaseUnavailable, TooManyLookups: nobody can tell.
    """
    admitted = _admitted.get()
    if admitted is not None and time.monotonic() > admitted.at + _VALID_SECONDS:
        set_caller(await admitted.renew())
