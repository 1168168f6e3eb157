"""What every read of a customer's events asks first."""

from typing import Protocol

from server.access.caller import NotPermitted, get_caller


class Selection(Protocol):
    """A query for the events of a customer that have some values."""

    @property
    def customer_id(self) -> str:
        """The customer."""

    @property
    def filters(self) -> tuple[tuple[str, str], ...]:
        """The name and the value of each."""


def find_share_of_read(selection: Selection) -> str:
    """Return whose turn a read takes.

    Raises:
        NotPermitted: the caller of the current call may not see all of these events.
    """
    caller = get_caller()
    if not caller.may_read(selection.customer_id, dict(selection.filters).get("user_id", "")):
        raise NotPermitted
    return caller.find_share(selection.customer_id)
