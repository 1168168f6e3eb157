"""The register of a module's attacks."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.abuse.caller import Caller, Door
from tests.abuse.seed import Seed

Run = Callable[[Caller], Awaitable[None]]


class Attack(NamedTuple):
    """What one caller does at one door."""

    door: Door
    run: Run
    seed: Seed | None
    """The rows that it needs."""
    open_files: int | None
    """The limit of the processes that are attacked, or None for that of these tests."""


class Register:
    """A register that a decorator fills."""

    def __init__(self) -> None:
        self.all: dict[str, Attack] = {}
        """By a phrase that says what the attacker does."""

    def __call__(
        self, what: str, *doors: Door, seed: Seed | None = None, open_files: int | None = None
    ) -> Callable[[Run], Run]:
        """Return a decorator that enters a function under `what`, once for each door.

        Args:
            what: what the attacker does, without a comma.
            doors: through which the function can attack.
            seed: the rows that it needs.
            open_files: the limit of open files that the stack must be started with.
        """

        def enter(run: Run) -> Run:
            for door in doors:
                self.all[f"{what} ({door.value})"] = Attack(door, run, seed, open_files)
            return run

        return enter
