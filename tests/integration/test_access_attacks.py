"""Attacks on tokens and keys: none of them lets anybody in."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from server.access.key import format_key, make_id, make_key, parse_key
from tests.support import access
from tests.support.access import PRIVATE_KEYS, bearer, providers_claims, sign, signers_claims
from tests.support.in_process import RunningServer, running_server
from tests.support.requests import lead_event

CUSTOMER = "attacked"
STRANGER = generate_private_key(65_537, 2_048)


class Scene(NamedTuple):
    """A server, a signer of CUSTOMER for each algorithm, and where files may be."""

    server: RunningServer
    url: str
    signers: dict[str, str]
    directory: Path

    def ask(self, credentials: str, **event: Any) -> grpc.StatusCode:
        """Return the status of a create at CUSTOMER."""
        try:
            self.server.client.leads.CreateLeadAnalyticsEvent(
                lead_event(CUSTOMER, **event), timeout=5, metadata=tuple(bearer(credentials).items())
            )
        except grpc.RpcError as error:
            return error.code()
        return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def scene(guarded_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("attacks")
    provider = access.write_jwks(directory / "jwks.json", "RS256", "ES256")
    signers = {each: access.make_signer(guarded_url, directory, CUSTOMER, each) for each in PRIVATE_KEYS}
    with running_server(guarded_url, auth=True, provider=provider) as running:
        yield Scene(running, guarded_url, signers, directory)


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encode_json(value: object) -> str:
    return encode(value if isinstance(value, bytes) else json.dumps(value).encode())


def assemble(header: object, claims: object, algorithm: str = "RS256", separator: str = ".") -> str:
    """Return a token with a right signature over whatever stands in it."""
    signed = f"{encode_json(header)}.{encode_json(claims)}"
    method = jwt.get_algorithm_by_name(algorithm)
    return f"{signed}{separator}{encode(method.sign(signed.encode(), PRIVATE_KEYS[algorithm]))}"


def sign_by_hmac(claims: dict[str, Any], kid: str, secret: bytes) -> str:
    signed = f"{encode_json({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{encode_json(claims)}"
    return f"{signed}.{encode(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def good(scene: Scene) -> str:
    return sign(signers_claims("user"), scene.signers["RS256"])


def header(scene: Scene, **more: object) -> dict[str, object]:
    return {"alg": "RS256", "typ": "JWT", "kid": scene.signers["RS256"], **more}


def change_last(text: str) -> str:
    """Return a text of base64 with other bits where the last character has bits that stand for nothing."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


CLAIMS = signers_claims("user", iat=int(time.time()), exp=int(time.time()) + 1_800)
TEXT = json.dumps(CLAIMS)

ATTACKS: dict[str, Callable[[Scene], str]] = {
    "alg none": lambda s: f"{encode_json({**header(s), 'alg': 'none'})}.{encode_json(CLAIMS)}.",
    "alg none with a signature": lambda s: f"{encode_json({**header(s), 'alg': 'none'})}.{good(s).partition('.')[2]}",
    "alg None": lambda s: assemble({**header(s), "alg": "None"}, CLAIMS),
    "no alg": lambda s: assemble({"kid": s.signers["RS256"]}, CLAIMS),
    "alg as a list": lambda s: assemble({**header(s), "alg": ["RS256"]}, CLAIMS),
    "HS256 with the public key": lambda s: sign_by_hmac(CLAIMS, s.signers["RS256"], access.public_pem("RS256")),
    "HS256 with the stripped public key": lambda s: sign_by_hmac(
        CLAIMS, s.signers["RS256"], access.public_pem("RS256").strip()
    ),
    "HS256 at the provider": lambda s: sign_by_hmac(
        providers_claims("*"), "RS256", json.dumps(access.to_jwk("RS256")).encode()
    ),
    "another algorithm of the same key": lambda s: jwt.encode(
        CLAIMS, PRIVATE_KEYS["RS256"], "RS512", headers={"kid": s.signers["RS256"]}
    ),
    "PS256 of the same key": lambda s: jwt.encode(
        CLAIMS, PRIVATE_KEYS["RS256"], "PS256", headers={"kid": s.signers["RS256"]}
    ),
    "a right signature of another signer's key": lambda s: sign(CLAIMS, s.signers["RS256"], "ES256"),
    "a stranger's signature": lambda s: jwt.encode(CLAIMS, STRANGER, "RS256", headers={"kid": s.signers["RS256"]}),
    "no kid": lambda _: jwt.encode(CLAIMS, PRIVATE_KEYS["RS256"], "RS256"),
    "an empty kid": lambda _: sign(CLAIMS, ""),
    "an unknown kid": lambda _: sign(CLAIMS, "signer_0123456789abcdef"),
    "an unknown kid of the provider": lambda _: sign(providers_claims("*"), "RS257"),
    "kid as a path": lambda s: sign(CLAIMS, f"../../{s.directory}/RS256.pem"),
    "kid as /dev/null": lambda _: sign_by_hmac(CLAIMS, "/dev/null", b""),
    "kid as SQL": lambda _: sign(CLAIMS, "x' UNION SELECT id, 'signer' FROM access_key --"),
    "kid as SQL behind an id": lambda s: sign(CLAIMS, s.signers["RS256"] + "' OR '1'='1"),
    "kid with U+0000": lambda s: sign(CLAIMS, s.signers["RS256"] + "\0"),
    "kid with a line feed": lambda s: sign(CLAIMS, s.signers["RS256"] + "\n"),
    "kid in upper case": lambda s: sign(CLAIMS, s.signers["RS256"].upper()),
    "kid as a list": lambda s: assemble({**header(s), "kid": [s.signers["RS256"]]}, CLAIMS),
    "kid as an object": lambda s: assemble({**header(s), "kid": {"id": s.signers["RS256"]}}, CLAIMS),
    "kid twice": lambda s: assemble(f'{{"alg":"RS256","kid":"RS256","kid":"{s.signers["RS256"]}"}}'.encode(), CLAIMS),
    "alg twice": lambda s: assemble(f'{{"alg":"none","alg":"RS256","kid":"{s.signers["RS256"]}"}}'.encode(), CLAIMS),
    "the id of a key as kid": lambda s: sign(
        CLAIMS, "_".join(access.make_key(s.url, "secret", CUSTOMER).split("_")[:2])
    ),
    **{
        f"{name} in the header": lambda s, name=name, value=value: jwt.encode(  # type: ignore[misc]  # bound now
            CLAIMS, STRANGER, "RS256", headers={"kid": s.signers["RS256"], name: value}
        )
        for name, value in {
            "jku": "http://127.0.0.1:1/jwks.json",
            "x5u": "http://127.0.0.1:1/certificate.pem",
            "jwk": jwt.get_algorithm_by_name("RS256").to_jwk(STRANGER.public_key(), as_dict=True),
            "x5c": ["MIIB"],
        }.items()
    },
    "crit in the header": lambda s: assemble(header(s, crit=["unknown"], unknown=True), CLAIMS),
    "b64 in the header": lambda s: assemble(header(s, b64=False, crit=["b64"]), CLAIMS),
    "expired": lambda s: sign(signers_claims("user", exp=int(time.time()) - 60), s.signers["RS256"]),
    "no expiry": lambda s: sign(signers_claims("user", exp=None), s.signers["RS256"]),
    "an expiry as text": lambda s: assemble(header(s), {**CLAIMS, "exp": "9999999999"}),
    "an endless expiry": lambda s: assemble(header(s), TEXT.replace(str(CLAIMS["exp"]), "Infinity").encode()),
    "an expiry that is no number": lambda s: assemble(header(s), TEXT.replace(str(CLAIMS["exp"]), "NaN").encode()),
    "a huge expiry": lambda s: assemble(header(s), TEXT.replace(str(CLAIMS["exp"]), "9" * 400).encode()),
    "an expiry that is true": lambda s: assemble(header(s), {**CLAIMS, "exp": True}),
    "not yet valid": lambda s: sign(signers_claims("user", nbf=int(time.time()) + 120), s.signers["RS256"]),
    "made in the future": lambda s: sign(signers_claims("user", iat=int(time.time()) + 120), s.signers["RS256"]),
    "no time of making": lambda s: sign(signers_claims("user", iat=None), s.signers["RS256"]),
    "valid for over an hour": lambda s: sign(signers_claims("user", exp=int(time.time()) + 3_700), s.signers["RS256"]),
    "no subject": lambda s: sign(signers_claims("user", sub=None), s.signers["RS256"]),
    "an empty subject": lambda s: sign(signers_claims(""), s.signers["RS256"]),
    "a subject as a list": lambda s: assemble(header(s), {**CLAIMS, "sub": ["user"]}),
    "a subject as null": lambda s: assemble(header(s), {**CLAIMS, "sub": None}),
    "a subject twice": lambda s: assemble(header(s), (TEXT[:-1] + ', "sub": "user"}').encode()),
    "an expiry twice": lambda s: assemble(header(s), (f'{{"exp": 1, {TEXT[1:]}').encode()),
    "a claim twice, deep inside": lambda s: assemble(header(s), (TEXT[:-1] + ', "x": {"y": 1, "y": 2}}').encode()),
    "claims as a list": lambda s: assemble(header(s), [CLAIMS]),
    "claims nested too deeply": lambda s: assemble(header(s), (b'{"x":' + b"[" * 2_500 + b"]" * 2_500 + b"}")),
    "claims that are not UTF-8": lambda s: assemble(header(s), TEXT.encode().replace(b"user", b"\xff")),
    "a token of 100 KB": lambda s: sign(signers_claims("user", more="x" * 75_000), s.signers["RS256"]),
    "padding": lambda s: good(s) + "=",
    "the other alphabet of base64": lambda s: good(s).replace("-", "+").replace("_", "/") + "+",
    "other bits at the end": lambda s: change_last(good(s)),
    "a space inside": lambda s: good(s).replace(".", ". ", 1),
    "a space at the end": lambda s: good(s) + " .",
    "four parts": lambda s: good(s) + ".",
    "two parts": lambda s: good(s).rpartition(".")[0],
    "five parts, as when encrypted": lambda s: good(s) + ".a.b",
    "an empty signature": lambda s: good(s).rpartition(".")[0] + ".",
    "a token behind another": lambda s: f"{good(s)} {good(s)}",
    "a token in quotes": lambda s: f'"{good(s)}"',
    "nothing but dots": lambda _: "..",
    "wrong issuer": lambda _: sign(providers_claims("*", iss="https://login.example.com.evil.example"), "RS256"),
    "no issuer": lambda _: sign(providers_claims("*", iss=None), "RS256"),
    "an issuer as a list": lambda _: assemble(
        {"alg": "RS256", "kid": "RS256"}, providers_claims("*", iss=[access.ISSUER])
    ),
    "wrong audience": lambda _: sign(providers_claims("*", aud="analytics2"), "RS256"),
    "part of the audience": lambda _: sign(providers_claims("*", aud="analytic"), "RS256"),
    "no audience": lambda _: sign(providers_claims("*", aud=None), "RS256"),
    "a list of other audiences": lambda _: sign(providers_claims("*", aud=["a", "analytics "]), "RS256"),
    "an audience as an object": lambda _: sign(providers_claims("*", aud={"analytics": True}), "RS256"),
    "no customers": lambda _: sign(providers_claims(None), "RS256"),
    "customers as a text": lambda _: sign(providers_claims(CUSTOMER), "RS256"),
    "customers as an object": lambda _: sign(providers_claims({CUSTOMER: True}), "RS256"),
    "customers that are no texts": lambda _: sign(providers_claims([[CUSTOMER]]), "RS256"),
    "a scope as a list": lambda _: sign(providers_claims("*", scope=["events:write"]), "RS256"),  # type: ignore[arg-type]
    "the provider's key of another algorithm": lambda _: sign(providers_claims("*"), "ES256", "RS256"),
    "the provider's claims by a signer's key": lambda s: sign(
        providers_claims("*", sub=None), s.signers["RS256"], "RS256"
    ),
    "a signer's claims by the provider's key": lambda _: sign(CLAIMS, "RS256"),
    "a key that nobody has made": lambda _: format_key(make_key(make_id("secret"))),
    "a key with another secret": lambda s: with_other_secret(access.make_key(s.url, "secret", CUSTOMER)),
    "a key with a wrong checksum": lambda s: change_hex(access.make_key(s.url, "secret", CUSTOMER)),
    "a key of another kind": lambda s: of_other_kind(access.make_key(s.url, "publishable", CUSTOMER)),
    "a key in upper case": lambda s: access.make_key(s.url, "secret", CUSTOMER).upper(),
    "a key with something behind it": lambda s: access.make_key(s.url, "secret", CUSTOMER) + "0",
    "the id of a key alone": lambda s: "_".join(access.make_key(s.url, "secret", CUSTOMER).split("_")[:2]),
    "the hash of a secret": lambda s: with_hash_as_secret(access.make_key(s.url, "secret", CUSTOMER)),
}


def with_other_secret(text: str) -> str:
    key = parse_key(text)
    assert key is not None
    return format_key(make_key(key.id))


def of_other_kind(text: str) -> str:
    """Return the text of a publishable key as if it were a secret one."""
    key = parse_key(text)
    assert key is not None
    return format_key(key._replace(id=key.id.replace("pk_", "sk_")))


def with_hash_as_secret(text: str) -> str:
    key = parse_key(text)
    assert key is not None
    return format_key(key._replace(secret=hashlib.sha256(key.secret.encode()).hexdigest()[:32]))


def change_hex(text: str) -> str:
    return text[:-1] + ("0" if text[-1] != "0" else "1")


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_as_unauthenticated(scene: Scene, attack: str) -> None:
    credentials = ATTACKS[attack](scene)
    assert scene.ask(credentials) == grpc.StatusCode.UNAUTHENTICATED
    assert scene.server.client.is_serving()


def test_what_the_attacks_start_from_is_accepted(scene: Scene) -> None:
    assert scene.ask(good(scene)) == grpc.StatusCode.OK
    assert scene.ask(assemble(header(scene), CLAIMS)) == grpc.StatusCode.OK
    assert scene.ask(sign(providers_claims("*"), "RS256")) == grpc.StatusCode.OK
    assert scene.ask(access.make_key(scene.url, "secret", CUSTOMER)) == grpc.StatusCode.OK


def test_clocks_may_differ_by_half_a_minute(scene: Scene) -> None:
    now = int(time.time())
    for claims in (signers_claims("user", exp=now - 10), signers_claims("user", iat=now + 15, nbf=now + 15)):
        assert scene.ask(sign(claims, scene.signers["RS256"])) == grpc.StatusCode.OK


@pytest.mark.parametrize(
    "scope", ["", "events:write-all", "xevents:write", "events:writeevents:read", "events", "*", "EVENTS:WRITE"]
)
def test_a_scope_that_contains_anothers_name_is_none(scene: Scene, scope: str) -> None:
    assert scene.ask(sign(providers_claims("*", scope=scope), "RS256")) == grpc.StatusCode.PERMISSION_DENIED


def test_what_a_customers_signer_claims_of_customers_has_no_effect(scene: Scene) -> None:
    token = sign(signers_claims("user", customers="*", scope="events:erase"), scene.signers["RS256"])
    assert scene.ask(token) == grpc.StatusCode.OK
    metadata = tuple(bearer(token).items())
    with pytest.raises(grpc.RpcError) as caught:
        scene.server.client.leads.CreateLeadAnalyticsEvent(lead_event("else"), timeout=5, metadata=metadata)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_a_star_in_a_list_of_customers_is_a_customer_of_that_name(scene: Scene) -> None:
    assert scene.ask(sign(providers_claims(["*"]), "RS256")) == grpc.StatusCode.PERMISSION_DENIED
    assert scene.ask(sign(providers_claims([]), "RS256")) == grpc.StatusCode.PERMISSION_DENIED


def test_a_key_that_leaves_the_file_is_refused_and_a_new_one_accepted(scene: Scene) -> None:
    token, new = sign(providers_claims("*"), "ES256", "ES256"), sign(providers_claims("*"), "EdDSA", "EdDSA")
    assert (scene.ask(token), scene.ask(new)) == (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED)
    access.write_jwks(scene.directory / "jwks.json", "RS256", "EdDSA")
    assert scene.ask(new) == grpc.StatusCode.OK
    time.sleep(5)
    assert scene.ask(token) == grpc.StatusCode.UNAUTHENTICATED
    (scene.directory / "jwks.json").write_text("no JSON")
    assert scene.ask(sign(providers_claims("*", jti="another"), "EdDSA", "EdDSA")) == grpc.StatusCode.OK
