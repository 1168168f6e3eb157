"""The faults of a stack whose database is a primary with a standby."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.faults import Fault
from tests.support.postgres import running_postgres
from tests.support.stack import SEARCH, Stack, running
from tests.support.standby import Pair, running_pair

# What whoever watches over the two takes to notice that the primary is lost.
_NOTICE_SECONDS = 1.0

_AWAY_SECONDS = 6.0
_BEHIND_SECONDS = 2.0

SYNCHRONOUS, ASYNCHRONOUS = "synchronous", "asynchronous"


def make_faults(pair: Pair, kind: str) -> dict[str, Fault]:
    """Return the faults by name.

    Args:
        pair: the database.
        kind: `SYNCHRONOUS` if commits wait for the standby, or `ASYNCHRONOUS`.
    """

    def lose_the_primary(_: Stack) -> None:
        """Kill the primary for good, and let the standby take over."""
        pair.fail_over(_NOTICE_SECONDS)

    def lose_the_standby(stack: Stack) -> None:
        """Kill the standby, and start it again. Meanwhile searches are answered, and nothing can be committed."""
        pair.standby.kill()
        time.sleep(_AWAY_SECONDS)
        assert (stack.request("/readyz"), stack.request("/healthz")) == (503, 200)
        assert stack.request(SEARCH) != 503
        pair.standby.start(pair.primary)

    def lose_the_primary_far_ahead(_: Stack) -> None:
        """Kill the primary when the standby is some seconds behind it."""
        with pair.standby.frozen():
            time.sleep(_BEHIND_SECONDS)
            pair.primary.kill()
        pair.fail_over(_NOTICE_SECONDS)

    name = f"the primary is lost, its {kind} standby takes over"
    if kind == ASYNCHRONOUS:
        return {name: lose_the_primary, f"{name}, {_BEHIND_SECONDS:.0f} s behind": lose_the_primary_far_ahead}
    return {
        name: lose_the_primary,
        f"the only {kind} standby is away for {_AWAY_SECONDS:.0f} s": lose_the_standby,
    }


def complete(pair: Pair, kind: str) -> None:
    """See to it that there is a standby, and that commits wait for it if they are to."""
    if not pair.standby.is_running:
        pair.add_standby()
    if kind == SYNCHRONOUS:
        pair.primary.wait_for_standbys(pair.standby.name)
    else:
        pair.primary.wait_for_standbys()


@contextlib.contextmanager
def running_stack_on_pair(directory: Path) -> Iterator[tuple[Stack, Pair]]:
    """Run a stack, and the two databases of which it uses the primary, with all files in `directory`."""
    source = directory / "source"
    source.mkdir()
    with running_postgres(source) as url, running_pair(directory / "pair", url) as pair:
        variables = {"DATABASE_URL": pair.server_url, "OWNER_DATABASE_URL": pair.url}
        with running(directory / "stack", **variables) as stack:
            yield stack, pair
