"""The lines of the log: JSON, one line each, without what a customer sent."""

import json
import logging
import subprocess
import sys

from server.logs import JsonFormatter
from tests.support.processes import ROOT


def format_line(**fields: object) -> dict[str, str]:
    record = logging.makeLogRecord(
        {"name": "server", "levelname": "ERROR", "msg": "it %s", "args": ("broke",), **fields}
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    result: dict[str, str] = json.loads(line)
    return result


def test_a_line_is_json_with_its_extras() -> None:
    line = format_line(sqlstate="53100", events=3)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "ERROR", "logger": "server", "event": "it broke", "sqlstate": "53100", "events": 3}


def test_a_traceback_names_types_and_lines_but_quotes_no_message() -> None:
    try:
        try:
            raise ValueError("a customer's secret")
        except ValueError as cause:
            raise RuntimeError("another secret") from cause
    except RuntimeError as error:
        line = format_line(exc_info=(type(error), error, error.__traceback__))
    assert "RuntimeError" in line["exception"]
    assert "ValueError" in line["exception"]
    assert "test_logs.py" in line["exception"]
    # The traceback quotes this test's own code, which holds the words; a message would end one of its parts.
    assert not line["exception"].endswith("secret")
    assert ": a customer's secret" not in line["exception"]


def test_a_value_that_json_cannot_hold_is_printed_as_text() -> None:
    assert "object" in format_line(thing=object())["thing"]


def test_an_uncaught_error_is_logged_without_its_message() -> None:
    program = """
import sys, threading
from server import logs
logs.configure(20)
sys.excepthook(SystemError, SystemError("secret " + "row"), None)  # As C code prints what it cannot raise.
class Unraisable:
    def __del__(self): raise ValueError("secret " + "row")
Unraisable()
def fail(): raise ValueError("secret " + "row")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
fail()
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["uncaught error"] * 4
    assert [line["level"] for line in lines] == ["WARNING", "WARNING", "ERROR", "ERROR"]
    assert "secret row" not in ended.stderr
