"""The faults of `make chaos` hit what they are meant for, also right after another."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.faults import kill_envoy, kill_the_postmaster
from tests.support.stack import Stack, running
from tests.support.template import Template
from tests.support.until import until


@pytest.mark.parametrize(("part", "kill"), [("envoy", kill_envoy), ("postgres", kill_the_postmaster)])
def test_a_part_that_is_being_restarted_is_killed_again(
    tmp_path: Path, template: Template, part: str, kill: Callable[[Stack], None]
) -> None:
    with running(template.copy_to(tmp_path / "stack"), WORKERS="1") as stack:
        first = stack.wait_until_up().number_of(part)
        for _ in range(3):  # After the first time, it does not run for a moment.
            kill(stack)
        until(lambda: stack.number_of(part) not in (0, first) and stack.is_whole() and stack.serves())
        assert stack.process.poll() is None
