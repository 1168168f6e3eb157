"""Prometheus's side: what a scrape returns, and which alerts fire on it."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.http import Http
from tests.support.processes import ROOT

RULES = ROOT / "docs/deploy/prometheus/alerts.yaml"
DASHBOARD = ROOT / "docs/deploy/grafana/dashboard.json"

ALERTS = re.findall(r"^  - alert: (\w+)$", RULES.read_text(), re.MULTILINE)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""The values by name and labels."""


def scrape(port: int, path: str = "/metrics") -> Samples:
    """Return what a scrape of Envoy's port for metrics returns."""
    answer = Http(port)("GET", path)
    assert answer.status == 200, answer
    return parse(answer.body.decode())


def ask_socket(path: Path, request: bytes) -> tuple[int, str]:
    """Return the status and body of what a worker answers on its socket, and 0 if it closes the connection instead."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        answer = b""
        with contextlib.suppress(ConnectionError):
            connection.sendall(request)
            while part := connection.recv(1 << 20):
                answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, body.decode()


def parse(text: str) -> Samples:
    """Return the values in a text, in which no series may stand twice."""
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # The parser gives all counters this ending. Envoy's have none.
            name = sample.name if f"\n{sample.name}" in text else sample.name.removesuffix("_total")
            key = name, frozenset(sample.labels.items())
            assert key not in samples
            samples[key] = sample.value
    return samples


def total(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of the values of a metric that have these labels."""
    return sum(value for (each, found), value in samples.items() if each == name and labels.items() <= set(found))


def to_series(before: Samples, after: Samples | None = None, job: str = "analytics") -> dict[str, str]:
    """Return series as promtool takes them: counters go on as they did between two scrapes, each minute as much again.

    Args:
        before: the first scrape.
        after: the second one. If there is none, nothing is counted any more.
        job: the job of Prometheus that scrapes.
    """
    series = {}
    for (name, labels), value in (after or before).items():
        is_counter = name.endswith(("_total", "_bucket", "_count", "_sum"))
        step = value - before.get((name, labels), 0.0) if is_counter else 0.0
        pairs = {**dict(labels), "job": job, "instance": "machine"}
        text = ",".join(f'{key}="{each}"' for key, each in sorted(pairs.items()))
        series[f"{name}{{{text}}}"] = f"{value:.9f}{step:+.9f}x120"
    return series


def find_promtool() -> str:
    """Return the program, or skip the test."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("there is no promtool on the PATH (Debian's package prometheus)")
    return program


def find_firing(directory: Path, cases: Mapping[str, Mapping[str, str]], minutes: int = 90) -> dict[str, set[str]]:
    """Return, for each case, the alerts that fire in the end, as promtool evaluates the rules.

    Args:
        directory: where its file goes.
        cases: the series of each.
        minutes: how long they go on.
    """
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": each, "values": values} for each, values in series.items()],
            # It says what there is in place of this.
            "promql_expr_test": [
                {
                    "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                    "eval_time": f"{minutes}m",
                    "exp_samples": [{"labels": '{alertname="None"}', "value": 1}],
                }
            ],
        }
        for name, series in cases.items()
    ]
    file = directory / "cases.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "3m", "tests": tests}))
    ran = run_promtool("test", "rules", str(file))
    got = [text.partition("expr:")[0] for text in (ran.stdout + ran.stderr).split("got:")[1:]]
    assert len(got) == len(cases), ran
    return {name: set(re.findall(r'alertname="(\w+)"', text)) for name, text in zip(cases, got, strict=True)}


def run_promtool(*arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run it on a text, and return its output."""
    command = [find_promtool(), *arguments]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
