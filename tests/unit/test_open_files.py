"""How many connections fit in the limit on open files."""

import resource

import pytest

from server.open_files import limit_connections
from server.variables import ConfigurationError


@pytest.mark.parametrize(
    ("open_files", "connections"),
    [(resource.RLIM_INFINITY, 10_000), (20_000, 10_000), (10_200, 10_000), (10_199, 9_999), (1_024, 824), (256, 56)],
)
def test_connections_leave_room_for_other_files(open_files: int, connections: int) -> None:
    assert limit_connections(open_files) == connections


def test_too_few_open_files_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"\(ulimit -Hn\) is 255: at least 256 are needed"):
        limit_connections(255)
