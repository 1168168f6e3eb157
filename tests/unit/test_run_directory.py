"""Where the stack has its Unix sockets, also if DATA_DIR has a name that is too long for them."""

import asyncio
import contextlib
import socket
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.stack.run_directory import find_run_directory, make_run_directory
from server.stack.settings import StackError


@pytest.fixture
def long_path(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory in which no socket can be. What is there for its sockets is removed at the end."""
    directory = tmp_path / str(uuid.uuid4()) / str(uuid.uuid4()) / str(uuid.uuid4())
    directory.mkdir(parents=True)
    yield directory
    run = find_run_directory(directory)
    if run.is_symlink():
        run.unlink()
    assert not run.exists()


def make(data_dir: Path) -> Path:
    """Make the directory, and remove it as a stack does when it stops."""

    async def make_and_close() -> Path:
        async with contextlib.AsyncExitStack() as cleanup:
            run = make_run_directory(data_dir, cleanup)
            assert stat.S_IMODE(run.stat().st_mode) == 0o700
            with socket.socket(socket.AF_UNIX) as server:
                (run / "private").mkdir(exist_ok=True)
                (run / "private" / ".s.PGSQL.5432").unlink(missing_ok=True)
                server.bind(str(run / "private" / ".s.PGSQL.5432"))
            return run

    return asyncio.run(make_and_close())


def test_sockets_are_with_the_data_unless_their_paths_are_too_long(long_path: Path) -> None:
    assert find_run_directory(Path("/srv/data")) == Path("/srv/data/run")
    assert find_run_directory(Path("/srv/a,b")).parent == Path("/tmp")
    run = find_run_directory(long_path)
    assert run.parent == Path("/tmp")
    assert run != find_run_directory(long_path.parent / "other")
    assert make(long_path) == run


def test_what_a_killed_stack_has_left_is_used_again(long_path: Path) -> None:
    run = find_run_directory(long_path)
    run.mkdir(mode=0o755)
    (run / "private").mkdir()
    (run / "private" / ".s.PGSQL.5432").touch()
    assert make(long_path) == run


def test_a_directory_of_somebody_else_is_refused(long_path: Path, tmp_path: Path) -> None:
    run = find_run_directory(long_path)
    (tmp_path / "elsewhere").mkdir()
    run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StackError, match=f"{run} belongs to another account"):
        make(long_path)
