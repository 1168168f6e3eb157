"""Hostile searches, through the real Envoy: they are understood in one way, or refused by the parameter at fault."""

import subprocess
from collections.abc import Iterable
from http.client import HTTPConnection

import pytest

from tests.support.http import Answer, Http, violations
from tests.support.json_faults import list_faults

LEAD = "/api/v1/lead_analytics"
SEARCH = "/api/v1/lead_analytics/search"
GOOD = {"customer_id": "hostile", "lead_id": "l", "user_id": "u", "recording_id": "r", "event_type": "view"}
ASKED = "customer_id=nobody&user_id=u&lead_id=l&recording_id=r"


@pytest.mark.parametrize(
    ("parameter", "page"),
    [
        *(("page=01", 1), ("page=%2B1", 1), ("page=%31", 1), ("page=10000", 10_000)),
        *(("page=+1", None), ("page=%201", None), ("page=1%20", None), ("page=1%00", None), ("page=-0", None)),
        *(("page=1e0", None), ("page=0x1", None), ("page=1_0", None), ("page=%D9%A1", None), ("page=1;--", None)),
        *(("page=99999999999999999999", None), ("page=NaN", None), ("page", None), (f"page={'1' * 10_000}", None)),
        *(("page=null", None), ("page=%FF", None), ("pageSize=1e3", None), ("pageSize=10.0", None)),
        *(("pageSize=5&page_size=5", None), ("latest", None), ("latest=%ED%A0%80", None), ("latest=1", None)),
        *(("latest=yes", None), ("latest=True", None), ("latest=null", None)),
    ],
)
def test_a_parameter_is_read_as_its_type_or_refused(http: Http, parameter: str, page: int | None) -> None:
    answer = http("GET", f"{SEARCH}?{ASKED}&{parameter}")
    if page is None:
        assert set(violations(answer)) == {parameter.partition("=")[0]}
    else:
        assert answer.json["meta"]["page"] == page


@pytest.mark.parametrize("text", ["%ED%A0%80", "%C0%80", "%FF", "%F4%90%80%80", "%E2%82"])
def test_a_parameter_that_is_not_utf8_is_refused_by_its_name(http: Http, text: str) -> None:
    for name in ("customer_id", "user_id", "lead_id"):
        found = list_faults(http("GET", f"{SEARCH}?{ASKED}".replace(f"{name}=", f"{name}=a{text}b")))
        assert found == [(name, "is not UTF-8")]
    recordings = f"recording_id=a{text}&recording_id=b&recording_id={'c' * 256}&recording_id={text}d"
    found = list_faults(http("GET", f"{SEARCH}?customer_id=nobody&user_id=u&lead_id=l&{recordings}"))
    assert sorted(found) == [
        ("recording_id[0]", "is not UTF-8"),
        ("recording_id[2]", "must be at most 255 characters"),
        ("recording_id[3]", "is not UTF-8"),
    ]
    assert set(violations(http("GET", f"{SEARCH}?{ASKED}&{text}=1"))) == {text}


def test_a_nul_in_a_search_is_refused_by_its_name(http: Http) -> None:
    found = violations(http("GET", f"{SEARCH}?{ASKED}".replace("=", "=%00")))
    assert set(found) == {"customer_id", "user_id", "lead_id", "recording_id[0]"}


@pytest.mark.parametrize("parameter", ["=", "=x", "=&page=1", "page=1&=page"])
def test_a_parameter_without_a_name_is_refused(http: Http, parameter: str) -> None:
    assert set(violations(http("GET", f"{SEARCH}?{ASKED}&{parameter}"))) == {"="}
    assert set(violations(http.post(f"{LEAD}?=", GOOD))) == {"="}


@pytest.mark.parametrize(
    ("parameter", "field", "nearest"),
    [
        *(("custmer_id=c", "custmer_id", "customer_id"), ("pagesize=1", "pagesize", "pageSize")),
        *(
            ("recording%5Fids=r", "recording_ids", "recording_id"),
            ("recording_id[x]=r", "recording_id[x]", "recording_id"),
        ),
        *(
            ("lead_id%5B%5D=l", "lead_id[]", "lead_id"),
            ("Latest=true", "Latest", "latest"),
            ("colour=red", "colour", ""),
        ),
        *(("%C3%A9%F0%9F%98%80=1", "\u00e9\U0001f600", ""), ("%zz=1", "%zz", ""), ("a+b=1", "a b", "")),
    ],
)
def test_an_unknown_parameter_is_refused_with_the_nearest_name(
    http: Http, parameter: str, field: str, nearest: str
) -> None:
    hint = f"; did you mean {nearest}?" if nearest else ""
    assert list_faults(http("GET", f"{SEARCH}?{ASKED}&{parameter}")) == [(field, f"is not a known parameter{hint}")]


def test_the_names_of_parameters_are_compared_decoded(http: Http) -> None:
    encoded = ASKED.replace("_id=", "%5Fid=").replace("user", "u%73er").replace("recording%5f", "recording%5F")
    assert http("GET", f"{SEARCH}?{encoded}&page%53ize=7").json["meta"]["pageSize"] == 7
    for twice in ("customer_id=other", "customer%5Fid=nobody", "%63ustomer_id=other"):
        assert list_faults(http("GET", f"{SEARCH}?{ASKED}&{twice}")) == [("customer_id", "is given more than once")]


@pytest.mark.parametrize(
    "recordings",
    [
        *("recording_id=r+1&recording_id=r%26", "recording_id[]=r+1&recording_id[]=r%26"),
        *("recording_id%5B%5D=r%201&recording_id%5b%5d=r%26", "recording_id[0]=r%201&recording_id[1]=r%26"),
        *("recording_id%5B7%5D=r+1&recording_id[007]=r%26", "recording%5Fid=r+1&recording%5Fid%5B%5D=r%26"),
        "recording_id=r+1&recording_id[]=r%26&recording_id[0]=r%26",
    ],
)
def test_every_spelling_of_a_list_finds_the_same_events(http: Http, customer: str, recordings: str) -> None:
    for recording in ("r 1", "r&", "r+1"):
        assert http.post(LEAD, {**GOOD, "customer_id": customer, "recording_id": recording}).status == 201
    asked = f"customer_id={customer.replace(' ', '+')}&user_id=u&lead_id=l&{recordings}"
    found = http("GET", f"{SEARCH}?{asked}").json["recordings"]
    assert [event["recording_id"] for event in found] == ["r&", "r 1"]


@pytest.mark.parametrize("kind", ["lead", "contact"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["content-length", "chunked"])
def test_a_body_with_a_search_is_refused_however_it_is_framed(http: Http, kind: str, is_chunked: bool) -> None:
    path = f"/api/v1/{kind}_analytics/search?{ASKED}".replace("lead_id", f"{kind}_id")
    for body in (b"{}", b" ", b"\0", b'{"page":1}', b"x" * 10_000):
        framed: bytes | Iterable[bytes] = (
            iter([body[:1], body[1:]] if len(body) > 1 else [body]) if is_chunked else body
        )
        assert list_faults(send_get(http, path, framed)) == [("", "must be empty on this route")]
    assert send_get(http, path, iter([]) if is_chunked else b"").status == 200
    large = b"x" * 100_000
    assert send_get(http, path, iter([large]) if is_chunked else large).status == 413


def send_get(http: Http, path: str, body: bytes | Iterable[bytes]) -> Answer:
    """Send a GET with a body, in chunks if it is not bytes."""
    connection = HTTPConnection("127.0.0.1", http.port, timeout=10)
    try:
        connection.request("GET", path, body, encode_chunked=not isinstance(body, bytes))
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("length", [[], ["-H", "content-length: 2"]], ids=["without length", "with length"])
def test_a_body_with_a_search_over_http2_is_refused(http: Http, length: list[str]) -> None:
    url = f"http://127.0.0.1:{http.port}{SEARCH}?{ASKED}"
    command = [
        "curl",
        "-sS",
        "--http2-prior-knowledge",
        "-X",
        "GET",
        "-T",
        "-",
        *length,
        "-w",
        "\n%{http_version} %{http_code}",
    ]
    for body, status in ((b"{}", 422), (b"", 200)):
        if body or not length:
            ran = subprocess.run([*command, url], input=body, capture_output=True, timeout=20, check=True)
            assert ran.stdout.splitlines()[-1] == b"2 %d" % status, ran
            assert (b"must be empty on this route" in ran.stdout) == (status == 422)
