"""The parts of the pages for people: where they come from, what they may contain, and the examples of the reference."""

import gzip
import json
import re
from typing import Any

import jsonschema_rs
import pytest

from server.pages.copy_swagger_ui import COPIES, FILES, read_original
from tests.support.processes import ROOT

DIRECTORY = ROOT / "server" / "pages"
PAGES = sorted(DIRECTORY.glob("*.html"))
ENVOY = (ROOT / "envoy.yaml").read_text()
DOCUMENT: dict[str, Any] = json.loads((ROOT / "generated" / "openapi.json").read_text())
OPERATIONS = [(path, verb) for path, verbs in DOCUMENT["paths"].items() for verb in verbs]


def test_swagger_ui_is_that_of_its_package() -> None:
    for name in FILES:
        assert gzip.decompress((COPIES / f"{name}.gz").read_bytes()) == read_original(name), "run make pages"


def test_envoy_sends_each_file_of_the_pages_whole() -> None:
    _, limit = re.findall(r"max_direct_response_body_size_bytes: (\d+)", ENVOY)
    files = [ROOT / name for name in re.findall(r"filename: (server/pages/\S+|generated/openapi\.json)", ENVOY)]
    assert {file for file in DIRECTORY.rglob("*") if file.suffix in (".html", ".js", ".css")} < set(files)
    assert max(file.stat().st_size for file in files) <= int(limit)


def test_envoy_sends_each_file_under_its_own_name() -> None:
    routes = re.findall(r"path: /pages/(\S+) \}\n +direct_response: .*filename: server/pages/(\S+) \}", ENVOY)
    assert len(routes) > 10
    assert [(path, file) for path, file in routes if path != file and not file.startswith("swagger-ui/")] == []


@pytest.mark.parametrize("script", sorted(DIRECTORY.rglob("*.js")), ids=lambda script: script.name)
def test_a_script_never_makes_html_of_text(script: Any) -> None:
    unsafe = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|setHTML|srcdoc|cookie"
    )
    assert re.findall(unsafe, script.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_nothing_that_its_policy_forbids(page: Any) -> None:
    html = page.read_text()
    assert not re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    sources = re.findall(r"(?:src|href)=\"([^\"]*)\"", html)
    assert [each for each in sources if not re.fullmatch(r"/[\w./-]*|data:,", each)] == []


def make_validator(schema: Any) -> Any:
    """Return a validator of a schema that may refer to those of the document."""
    return jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]}, validate_formats=True)


@pytest.mark.parametrize(("path", "verb"), OPERATIONS)
def test_every_operation_has_valid_examples(path: str, verb: str) -> None:
    operation = DOCUMENT["paths"][path][verb]
    contents = [content for each in operation["responses"].values() for content in each["content"].items()]
    if body := operation.get("requestBody"):
        contents += body["content"].items()
    contents += [("", each) for each in operation["parameters"] if each.get("required")]
    for kind, content in contents:
        assert "example" in content, f"{path} needs one in protos/openapi_examples.py: {content}"
        lines = content["example"].splitlines() if kind == "application/x-ndjson" else []
        for example in map(json.loads, lines) if lines else [content["example"]]:
            make_validator(content["schema"]).validate(example)


@pytest.mark.parametrize(("path", "verb"), OPERATIONS)
def test_every_operation_reads_as_one_of_http(path: str, verb: str) -> None:
    operation = DOCUMENT["paths"][path][verb]
    assert operation["summary"]
    assert "UNIMPLEMENTED" not in json.dumps(operation)  # The errors are told by their HTTP statuses.
    assert "Errors" not in operation["description"]
    assert operation["tags"][0] in [tag["name"] for tag in DOCUMENT["tags"]]


def test_a_refusal_says_what_the_comment_of_its_rpc_says() -> None:
    responses = DOCUMENT["paths"]["/api/v1/analytics_events:batch"]["post"]["responses"]
    assert (
        responses["413"]["description"]
        == "The request is over 8 MiB. Nothing was stored. Send fewer events in one call."
    )
