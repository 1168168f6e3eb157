"""The README's commands, run as they stand there, with what they print."""

import os
import re
import subprocess
import sys

from tests.support.processes import ROOT
from tests.support.stack import Stack

README = (ROOT / "README.md").read_text()


def commands() -> list[tuple[str, str]]:
    """The `$` lines of all console blocks, each with the output that follows it."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            # A command goes on as long as a quote is open or its line ends in a backslash.
            lines = part.splitlines()
            end = 1
            while lines[end - 1].endswith("\\") or "\n".join(lines[:end]).count("'") % 2:
                end += 1
            found.append(("\n".join(lines[:end]), "\n".join(lines[end:])))
    return found


def at_ports(text: str, stack: Stack) -> str:
    return text.replace("localhost:8080", f"localhost:{stack.http_port}").replace(
        "localhost:50051", f"localhost:{stack.grpc_port}"
    )


def masked(output: str) -> str:
    """The output without what differs at each run."""
    output = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", output)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", output).strip()


def run(program: list[str], stdin: str) -> str:
    environment = {**os.environ, "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    ran = subprocess.run(
        program, input=stdin, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_every_command_prints_what_the_readme_says(stack: Stack) -> None:
    found = commands()
    assert len(found) >= 10
    for command, output in found:
        at_hand = at_ports(command, stack).replace(".venv/bin/", f"{sys.prefix}/bin/")
        assert masked(run(["bash", "-e"], at_hand)) == masked(output), command


def test_the_python_client_runs(stack: Stack) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert re.fullmatch(r"Lead analytics event\|ID", masked(run([sys.executable, "-"], at_ports(program, stack))))


def test_every_variable_and_target_is_documented() -> None:
    for name in (
        "HTTP_PORT",
        "GRPC_PORT",
        "ENVOY_ADMIN_PORT",
        "BIND_ADDRESS",
        "DATABASE_URL",
        "DATA_DIR",
        "LOG_LEVEL",
        "WORKERS",
        "DRAIN_NOTICE_SECONDS",
    ):
        assert f"| `{name}` |" in README
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
