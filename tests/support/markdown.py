"""The Markdown pages: their blocks, and how the programs in them are run."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ROOT
from tests.support.stack import Stack

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_DEFAULT_PORTS = {"8080": "HTTP_PORT", "50051": "GRPC_PORT", "9464": "METRICS_PORT"}


def read(file: Path | str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / file).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """Return the text of a page outside of its fenced blocks."""
    return _BLOCK.sub("", read(page))


def blocks(page: str, language: str) -> list[str]:
    """Return the fenced blocks of a page that are in a language."""
    return [text for each, text in _BLOCK.findall(read(page)) if each == language]


def adapted(text: str, stack: Stack) -> str:
    """Return a command or program of a page for `stack`."""
    text = re.sub(r"localhost:(\d+)", lambda found: f"localhost:{stack.environment[_DEFAULT_PORTS[found[1]]]}", text)
    return text.replace(".venv/bin/", f"{sys.prefix}/bin/").replace(".data/run/envoy.sock", str(stack.admin.path))


def masked(output: str) -> str:
    """Return the output of a command without what differs from run to run."""
    output = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", output)
    return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", output).strip()


def run(program: list[str], stdin: str) -> str:
    """Return what a program prints, which has to succeed."""
    ran = subprocess.run(
        program, input=stdin, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=30, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def find_printed(program: str, call: str, comment: str) -> list[str]:
    """Return what the comments of a program say that it prints.

    Args:
        program: its text.
        call: what begins a line that prints, such as "print".
        comment: what begins a comment.
    """
    return re.findall(rf"^ *{re.escape(call)}\(.*\);?\n *{comment} (.*)$", program, re.MULTILINE)


def check_python(program: str) -> None:
    """Run a program in Python, and check that it prints what its comments say."""
    printed = run([sys.executable, "-"], program)
    if expected := find_printed(program, "print", "#"):
        assert masked(printed) == masked("\n".join(expected))
