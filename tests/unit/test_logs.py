import json
import logging

from server.logs import JsonFormatter


def formatted(**fields: object) -> dict[str, str]:
    record = logging.makeLogRecord(
        {"name": "server", "levelname": "ERROR", "msg": "it %s", "args": ("broke",), **fields}
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    result: dict[str, str] = json.loads(line)
    return result


def test_a_line_is_json_with_its_extras() -> None:
    line = formatted(sqlstate="53100", events=3)
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "ERROR", "logger": "server", "event": "it broke", "sqlstate": "53100", "events": 3}


def test_a_traceback_names_types_and_lines_and_quotes_no_message() -> None:
    try:
        try:
            raise ValueError("a customer's secret")
        except ValueError as cause:
            raise RuntimeError("another secret") from cause
    except RuntimeError as error:
        line = formatted(exc_info=(type(error), error, error.__traceback__))
    assert "RuntimeError" in line["exception"]
    assert "ValueError" in line["exception"]
    assert "test_logs.py" in line["exception"]
    # The lines of code are ours, and in this test they hold the words; the messages would end the parts.
    assert not line["exception"].endswith("secret")
    assert ": a customer's secret" not in line["exception"]


def test_what_is_no_json_is_printed_all_the_same() -> None:
    assert "object" in formatted(thing=object())["thing"]
