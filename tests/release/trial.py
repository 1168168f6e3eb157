"""A trial of what is installed: the stack runs from it, and so does each command that operators use."""

import shlex
import subprocess
from pathlib import Path

from tests.support.http import Http
from tests.support.processes import environment
from tests.support.stack import EVENT, Stack, running

PATHS = ("/", "/docs", "/activity", "/pages/activity/main.js", "/openapi.json", "/analytics.js", "/analytics.d.ts")


def try_out(python: Path, version: str, directory: Path) -> None:
    """Raise AssertionError unless all works with this Python, in a directory of its own, where no checkout is."""
    directory.mkdir()

    def run(*arguments: str, **variables: str) -> str:
        ended = subprocess.run(
            [python, "-m", *arguments],
            cwd=directory,
            env=environment(PYTHONPATH="", **variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        print(f"python -m {' '.join(arguments)}: exit {ended.returncode}")
        assert ended.returncode == 0, ended
        return ended.stdout + ended.stderr

    assert run("server", "--version") == f"data-analytics-service {version}\n"
    # In place of the Python and the directory of the tests.
    shell = f"cd {shlex.quote(str(directory))}; set -- {shlex.quote(str(python))} -m server.stack"
    with running(directory / "stack", shell, PYTHONPATH="") as stack:
        print("python -m server.stack")
        check_stack(stack.wait_until_up())
        server, owner = {"DATABASE_URL": stack.server_database_url}, {"OWNER_DATABASE_URL": stack.database_url}
        found = run("server", "check", GRPC_PORT=str(stack.grpc_port), **server)
        assert "generated/envoy.binpb is what this worker serves" in found, found
        assert "nothing to migrate" in run("storage.migrate", **server, **owner)
        assert '"user_id": "u"' in run("storage.erase", "events", "--customer", "c", "--user", "u", **owner)
        assert run("server.access", "list", DATABASE_URL=stack.database_url) == "there are no keys\n"
        counted = run("server.stack.psql", "-Atc", "SELECT count(*) FROM analytics_event", DATA_DIR=str(stack.data))
        assert counted == "0\n"
        assert stack.stop() == 0


def check_stack(stack: Stack) -> None:
    """Check that events are stored, and that the pages are there."""
    assert stack.request("/api/v1/lead_analytics", EVENT) == 201
    assert stack.serves()
    http = Http(stack.http_port)
    assert {path: http("GET", path).status for path in PATHS} == dict.fromkeys(PATHS, 200)
