"""The text of keys, and what callers may do."""

import asyncio
import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from server.access.__main__ import UsageError, check_origin, read_public_key
from server.access.caller import ANYONE, ERASE, NOBODY, READ, WRITE, Caller, get_caller
from server.access.key import PUBLISHABLE, SECRET, format_key, hash_secret, is_secret_of, make_id, make_key, parse_key
from server.rpc.admission import Admission
from server.rpc.call_log import CallLog
from tests.support.access import PRIVATE_KEYS, public_pem, run_command, write_public_key


@given(st.sampled_from([PUBLISHABLE, SECRET]))
def test_a_key_is_read_as_it_was_made(kind: str) -> None:
    key = make_key(make_id(kind))
    text = format_key(key)
    assert parse_key(text) == key
    assert key.kind == kind
    assert is_secret_of(key, hash_secret(key.secret))
    assert not is_secret_of(key, hash_secret(make_key(key.id).secret))
    assert not is_secret_of(key, None)
    assert key.secret.encode() not in hash_secret(key.secret)


@given(st.data())
def test_a_typing_error_is_noticed(data: st.DataObject) -> None:
    text = format_key(make_key(make_id(SECRET)))
    place = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(st.sampled_from("0123456789abcdef_kps"))
    for changed in (text[:place] + wrong + text[place + 1 :], text[:place] + text[place + 1 :], text + wrong):
        assert changed == text or parse_key(changed) is None


@given(st.text() | st.from_regex(r"[sp]k_[0-9a-f]{16}_[0-9a-f]{40}\n?"))
def test_other_text_is_no_key(text: str) -> None:
    assert parse_key(text) is None


def test_two_keys_are_never_alike() -> None:
    keys = [make_key(make_id(SECRET)) for _ in range(1_000)]
    assert len({key.id for key in keys}) == len({key.secret for key in keys}) == 1_000


NAMES = st.sampled_from(["a", "A", "a ", "é", "e\u0301", ""])


@given(
    st.none() | st.frozensets(NAMES),
    st.none() | st.frozensets(NAMES),
    st.frozensets(st.sampled_from([WRITE, READ, ERASE])),
    NAMES,
    NAMES,
)
def test_a_caller_may_do_what_its_claims_say_and_no_more(
    customers: frozenset[str] | None, users: frozenset[str] | None, scopes: frozenset[str], customer: str, user: str
) -> None:
    caller = Caller("name", customers, scopes, users)
    within = (customers is None or customer in customers) and (users is None or user in users)
    assert caller.may_write(customer, user) == (within and WRITE in scopes)
    assert caller.may_read(customer, user) == (within and READ in scopes)
    if caller.may_erase(customer):
        assert ERASE in scopes
        assert users is None
        assert customers is None or customer in customers


def test_without_a_caller_nothing_is_allowed() -> None:
    assert get_caller() is NOBODY
    assert not any([NOBODY.may_write("", ""), NOBODY.may_read("", ""), NOBODY.may_erase("")])
    assert ANYONE.may_write("c", "u")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://app.example.com", "https://app.example.com"),
        ("https://APP.example.com/", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:80", "http://[::1]"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
    ],
)
def test_an_origin_is_stored_as_browsers_send_it(text: str, origin: str) -> None:
    assert check_origin(text) == origin


@pytest.mark.parametrize(
    "text", ["app.example.com", "null", "*", "", "https://", "https://a/b", "https://a?b", "https://u@a", "https://a:b"]
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        check_origin(text)


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_a_public_key_is_read_with_its_algorithm(tmp_path: Path, algorithm: str) -> None:
    assert read_public_key(write_public_key(tmp_path, algorithm)) == (public_pem(algorithm).decode(), algorithm)


@pytest.mark.parametrize("algorithm", PRIVATE_KEYS)
def test_a_private_key_is_refused_as_what_it_is(tmp_path: Path, algorithm: str) -> None:
    private = PRIVATE_KEYS[algorithm]
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    jwk = json.dumps(jwt.get_algorithm_by_name(algorithm).to_jwk(private, as_dict=True))
    for content in (pem, jwk.encode()):
        path = tmp_path / "key"
        path.write_bytes(content)
        with pytest.raises(UsageError, match="private key"):
            read_public_key(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b"-----BEGIN CERTIFICATE-----", b'{"kty":"oct","k":"AAAA"}'])
def test_what_is_no_public_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no public key"):
        read_public_key(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "publishable", "--customer", "c", "--scope", "events:read"],
        ["create", "publishable", "--customer", ""],
        ["create", "publishable", "--customer", "c\0"],
        ["create", "secret", "--customer", "c", "--origin", "https://a.example"],
        ["create", "secret", "--customer", "c", "--public-key", "f"],
        ["create", "signer", "--customer", "c"],
        ["create", "secret", "--customer", "c", "--expires", "soon"],
        ["create", "secret", "--customer", "c", "--events-per-second", "0"],
        ["create", "secret"],
        ["revoke"],
        [],
    ],
)
def test_a_command_that_cannot_be_is_refused_before_the_database_is_asked(arguments: list[str]) -> None:
    status, out, err = run_command("postgresql://nobody@127.0.0.1:1/nothing", *arguments)
    assert (status, out) == (2, "")
    assert err


def test_each_rpc_needs_a_scope() -> None:
    from data_analytics.v1.analytics_event_service_pb2 import DESCRIPTOR

    services = list(DESCRIPTOR.services_by_name.values())

    async def ask() -> None:
        is_on = {"is_on": True, "serves_reflection": False}
        admission = Admission(services, None, CallLog(), **is_on)  # type: ignore[arg-type]  # no verifier is asked
        for service in services:
            for method in service.methods:
                assert admission(f"/{service.full_name}/{method.name}", ()) is not None
        assert admission("/data_analytics.v1.Unknown/Method", ()) is not None

    asyncio.run(ask())
