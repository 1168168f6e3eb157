"""The examples for callers, each run as far as it can be, on a stack whose callers need credentials."""

import base64
import json
import re
import shlex
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from tests.support.access import bearer, make_key
from tests.support.browser import Chromium, Pages, wait_for_messages
from tests.support.certificates import certify
from tests.support.database import query
from tests.support.http import Answer, Http
from tests.support.languages import export_protos, find_program, run_node
from tests.support.markdown import adapted, blocks, check_python, find_printed
from tests.support.processes import ROOT
from tests.support.stack import Stack

PAGE = "docs/callers.md"

# What Apex adds to each callout.
APEX_HEADERS = {
    "Accept": "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "SFDC_STACK_DEPTH": "1",
    "User-Agent": "SFDC-Callout/66.0",
}
USER = "005Hs00000AbCdEIAV"
VERSIONS = {"package": "1.4.2"}
# The values of the expressions in the example.
APEX_VALUES: dict[str, object] = {
    "lead.Id": "00QHs00000XyZaBMAV",
    "recordingId": "a0BHs00000QrStUMAV",
    "UserInfo.getUserId()": USER,
    "DateTime.now().format('yyyy-MM-dd HH:mm:ss')": "2026-11-23 10:15:00",
    "new Map<String, Object>{ 'package' => '1.4.2' }": VERSIONS,
}


@pytest.fixture(scope="module")
def protos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_protos(tmp_path_factory.mktemp("exported") / "protos")


@pytest.fixture
def key(guarded: Stack, customer: str, monkeypatch: pytest.MonkeyPatch) -> str:
    made = make_key(guarded.database_url, "secret", customer)
    monkeypatch.setenv("ANALYTICS_KEY", made)
    return made


def find_versions(stack: Stack, customer: str) -> list[Any]:
    """Return the version_info of a customer's events, oldest first."""
    sql = "SELECT version_info FROM analytics_event WHERE customer_id = %s ORDER BY id"
    return [each for (each,) in query(stack.database_url, sql, customer)]


def for_customer(text: str, stack: Stack, customer: str) -> str:
    """Return a program of the page for `stack` and a customer."""
    return adapted(re.sub(r"\bacme\b", customer, text), stack)


@pytest.mark.usefixtures("key")
def test_python_prints_what_its_comments_say(guarded: Stack, customer: str) -> None:
    (program,) = blocks(PAGE, "python")
    check_python(for_customer(program, guarded, customer))
    assert find_versions(guarded, customer) == [{"package": "1.4.2", "flags": [True, None]}]


@pytest.mark.usefixtures("key")
def test_node_prints_what_its_comments_say(guarded: Stack, customer: str, protos: Path) -> None:
    (program,) = blocks(PAGE, "js")
    placed = program.replace("build/protos", str(protos)).replace("docs/", f"{ROOT}/docs/")
    printed = run_node(for_customer(placed, guarded, customer))
    assert printed.splitlines() == find_printed(program, "console.log", "//")
    written = {"package": "1.4.2", "build": 7, "flags": [True, None, {"beta": 0.5}]}
    assert find_versions(guarded, customer) == [written, None, None]


def test_node_sends_a_plain_object_as_an_empty_struct(protos: Path) -> None:
    program = """
        import { loadSync } from "@grpc/proto-loader";
        const file = "data_analytics/v1/lead_analytics_service.proto";
        const definition = loadSync(file, { includeDirs: [process.argv[1]], keepCase: true });
        const method = definition["data_analytics.v1.LeadAnalyticsService"].CreateLeadAnalyticsEvent;
        const bytes = method.requestSerialize({ version_info: { package: "1.4.2" } });
        console.log(JSON.stringify(method.requestDeserialize(bytes).version_info));
    """
    assert json.loads(run_node(program, str(protos))) == {}


def test_a_page_stores_its_event(guarded: Stack, pages: Pages, chromium: Chromium, customer: str) -> None:
    (example,) = blocks(PAGE, "html")
    key = make_key(guarded.database_url, "publishable", customer, "--origin", pages.origin)
    own = f"http://localhost:{guarded.http_port}"
    pages.html = (
        example.replace("https://analytics.example", own).replace("pk_id_secret", key).replace("acme", customer)
    )
    with chromium.launched() as browser:
        browser.new_page().goto(pages.origin)
        wait_for_messages(guarded, customer, [""])


def send_as_apex(stack: Stack, customer: str, credentials: str) -> tuple[dict[str, Any], Answer]:
    """Send what the example for Apex would send, and return the event and the response."""
    job, example = blocks(PAGE, "apex")
    (path,) = re.findall(r"setEndpoint\('callout:Analytics(/.+)'\)", job)
    assert re.findall(r"setMethod\('(\w+)'\)", job) == ["POST"]
    headers = dict(re.findall(r"setHeader\('(.+)', '(.+)'\)", job))
    values = {**APEX_VALUES, "UUID.randomUUID().toString()": str(uuid.uuid4()), "'acme'": customer}
    fields = re.findall(r"^    '(\w+)' => (.+?),?$", example, re.MULTILINE)
    event = {name: values.get(text, text[1:-1] if text[0] == "'" else None) for name, text in fields}
    assert None not in event.values()
    answer = Http(stack.http_port).post(path, event, {**APEX_HEADERS, **headers, **bearer(credentials)})
    return event, answer


def test_apex_stores_its_event_with_the_key_of_a_named_credential(guarded: Stack, customer: str, key: str) -> None:
    event, answer = send_as_apex(guarded, customer, key)
    assert answer.status == 201, answer
    assert answer.json["lead_id"] == event["lead_id"]
    assert find_versions(guarded, customer) == [VERSIONS]


def test_apex_tries_again_what_may_be_tried_again() -> None:
    job, _ = blocks(PAGE, "apex")
    (statuses,) = re.findall(r"RETRYABLE = new Set<Integer>\{ (.+) \}", job)
    assert set(map(int, statuses.split(", "))) == {408, 409, 429, 500, 502, 503, 504}


def encode(data: bytes) -> str:
    """Encode as the example for Apex does."""
    return base64.b64encode(data).decode().replace("+", "-").replace("/", "_").replace("=", "")


def test_apex_stores_events_of_its_user_with_a_token_that_it_signs(
    guarded: Stack, customer: str, tmp_path: Path
) -> None:
    private_key = generate_private_key(65_537, 2_048)
    certificate = tmp_path / "org.crt"
    certificate.write_bytes(certify(private_key))
    signer = make_key(guarded.database_url, "signer", customer, "--public-key", str(certificate))

    (example,) = blocks("docs/access.md", "apex")
    now = int(time.time())
    values = {"UserInfo.getUserId()": USER, "now": now, "now + 900": now + 900, "'RS256'": "RS256"}
    values["'signer_0123456789abcdef'"] = signer
    maps = re.findall(r"new Map<String, Object>\{ (.+) \}\);", example)
    parts = [
        {name: values[text] for name, text in (re.findall(r"'(\w+)' => (.+)", each)[0] for each in found.split(", "))}
        for found in maps
    ]
    signed = ".".join(encode(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    assert "Crypto.signWithCertificate('RSA-SHA256'," in example
    token = f"{signed}.{encode(private_key.sign(signed.encode(), PKCS1v15(), hashes.SHA256()))}"

    event, answer = send_as_apex(guarded, customer, token)
    assert (answer.status, answer.json["user_id"]) == (201, USER)
    other = Http(guarded.http_port).post("/api/v1/lead_analytics", {**event, "user_id": "other"}, bearer(token))
    assert other.status == 403


@pytest.mark.parametrize("language", ["go", "java"])
def test_the_commands_for_other_languages_write_their_files(protos: Path, tmp_path: Path, language: str) -> None:
    scripts = [block for block in blocks(PAGE, "sh") if f"--{language}_out" in block]
    (command,) = re.findall(r"^protoc .+", "\n".join(scripts), re.MULTILINE)
    for option in re.findall(r"--([\w-]+)_out", command):
        find_program("protoc" if option == "java" else f"protoc-gen-{option}")
    out = tmp_path / "src" / "main" / "java"
    out.mkdir(parents=True)
    program = f"cd {shlex.quote(str(tmp_path))} && {command.replace('build/protos', str(protos))}"
    ran = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    package = {"go": tmp_path / "dataanalytics" / "v1", "java": out / "com" / "dataanalytics" / "v1"}[language]
    assert any(package.iterdir())
