"""`python -m server.access`: make, list, limit and revoke keys, in OWNER_DATABASE_URL or else DATABASE_URL."""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import psycopg2
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from server.access.caller import READ, SCOPES, WRITE
from server.access.key import PREFIXES, PUBLISHABLE, SECRET, SIGNER, format_key, hash_secret, make_id, make_key
from server.access.token import find_algorithm
from server.broken_pipe import tolerate_broken_pipe
from storage import DatabaseUnavailable
from storage.access_keys import AccessKey, insert_key, limit_key, list_keys, revoke_key
from storage.owner_url import read_owner_url

MAX_CHARACTERS = 255
# What a new key may write a second, unless it is said: events, and bytes.
RATES = {PUBLISHABLE: (100, 1 << 20), SIGNER: (1_000, 8 << 20), SECRET: (10_000, 64 << 20)}
# Without what was given: it may have been a whole key.
_NO_KEY = "there is no such key: give its first two parts, such as sk_0123456789abcdef, as `list` shows them"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class UsageError(Exception):
    """What was asked for cannot be done. The message is one line."""


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Do what the arguments say, and return the exit status."""
    options = _make_parser().parse_args(arguments)
    try:
        variable, url = read_owner_url(environment)
    except ValueError as error:
        return _fail(str(error), 2)
    try:
        with tolerate_broken_pipe():
            options.run(options, url)
    except UsageError as error:
        return _fail(str(error), 2)
    except DatabaseUnavailable as error:
        return _fail(f"{variable}: the database cannot be reached: {error}", 1)
    except psycopg2.Error as error:
        reason = str(error).strip().partition("\n")[0]
        hint = {
            "42501": ": set OWNER_DATABASE_URL to the URL of the owner",
            "42P01": ": run `python -m storage.migrate` first",
        }
        return _fail(f"{variable}: {reason}{hint.get(error.pgcode or '', '')}", 1)
    return 0


def _fail(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server.access", description="The keys of callers.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = commands.add_parser("create", help="make a key, or register a customer's signer of tokens")
    create.set_defaults(run=_create)
    create.add_argument("kind", choices=list(PREFIXES), help="what a page holds, what a server holds, or a public key")
    create.add_argument("--customer", required=True, metavar="ID", help="the customer_id that it is for")
    create.add_argument("--origin", action="append", metavar="URL", help="of a page that may use it (repeat)")
    create.add_argument("--scope", action="append", choices=SCOPES, help="what it may do (repeat)")
    create.add_argument("--user", action="append", metavar="ID", help="the user_id that it is limited to (repeat)")
    _add_rates(create)
    create.add_argument("--expires", type=_read_duration, metavar="90d", help="after how long: s, m, h or d")
    create.add_argument("--public-key", type=Path, metavar="FILE", help="a signer's key: PEM, a certificate, or a JWK")
    create.add_argument("--note", default="", metavar="TEXT", help="what it is for")
    show = commands.add_parser("list", help="list keys and signers, without their secrets")
    show.set_defaults(run=_list)
    show.add_argument("--customer", metavar="ID", help="only this customer's")
    limit = commands.add_parser("limit", help="change what a key may write a second, within 5 s on all workers")
    limit.set_defaults(run=_limit)
    limit.add_argument("id", metavar="KEY_ID")
    _add_rates(limit)
    revoke = commands.add_parser("revoke", help="revoke a key or signer, within 5 s on all workers")
    revoke.set_defaults(run=_revoke)
    revoke.add_argument("id", metavar="KEY_ID")
    return parser


def _add_rates(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--events-per-second", type=_read_count, metavar="N", help="how many events it may write a second"
    )
    parser.add_argument("--bytes-per-second", type=_read_count, metavar="N", help="of how many bytes together")


def _create(options: argparse.Namespace, url: str) -> None:
    """Make a key, and print it as the only line of standard output."""
    kind = options.kind
    for name in (options.customer, *(options.user or ())):
        if not 0 < len(name) <= MAX_CHARACTERS or "\0" in name:
            raise UsageError(f"--customer and --user have 1 to {MAX_CHARACTERS} characters, none of them U+0000")
    if (options.public_key is not None) != (kind == SIGNER):
        raise UsageError("--public-key is for a signer, and a signer needs it")
    if options.user and kind == SIGNER:
        raise UsageError("--user is not for a signer: its tokens name the user")
    if options.origin and kind != PUBLISHABLE:
        raise UsageError("--origin is for a publishable key: only pages send their origin")
    scopes = list(dict.fromkeys(options.scope or ([WRITE, READ] if kind == SECRET else [WRITE])))
    if kind != SECRET and scopes != [WRITE]:
        raise UsageError(f"a {kind} {'key ' if kind == PUBLISHABLE else ''}may only have the scope {WRITE}")
    key_id = make_id(kind)
    now = datetime.now(UTC)
    row = AccessKey(
        id=key_id,
        kind=kind,
        customer_id=options.customer,
        secret_hash=None,
        public_key=None,
        algorithm=None,
        scopes=scopes,
        origins=[check_origin(each) for each in options.origin] if options.origin else None,
        users=options.user,
        events_per_second=options.events_per_second or RATES[kind][0],
        bytes_per_second=options.bytes_per_second or RATES[kind][1],
        note=options.note,
        created_at=now,
        expires_at=None if options.expires is None else now + options.expires,
        revoked_at=None,
        last_used_at=None,
    )
    if kind == SIGNER:
        public_key, algorithm = read_public_key(options.public_key)
        insert_key(url, row._replace(public_key=public_key, algorithm=algorithm))
        print(f"the header of its tokens needs kid {key_id} and alg {algorithm}", file=sys.stderr)
        print(key_id)
        return
    key = make_key(key_id)
    insert_key(url, row._replace(secret_hash=hash_secret(key.secret)))
    if kind == PUBLISHABLE and not options.origin:
        print("without --origin, any page may use this key", file=sys.stderr)
    print(f"made {key_id}: the key is shown only once", file=sys.stderr)
    print(format_key(key))


def _list(options: argparse.Namespace, url: str) -> None:
    """Print a line for each key."""
    now = datetime.now(UTC)
    keys = list_keys(url, options.customer)
    if not keys:
        print("there are no keys" if options.customer is None else "the customer has no keys", file=sys.stderr)
    for key in keys:
        fields = [key.id, f"customer={key.customer_id!r}", f"scopes={','.join(key.scopes)}"]
        fields += [f"{name}={','.join(map(repr, values))}" for name, values in _list_options(key) if values]
        if key.revoked_at is not None:
            fields.append(f"revoked={_format_time(key.revoked_at)}")
        elif key.expires_at is not None:
            fields.append(f"{'expired' if key.expires_at <= now else 'expires'}={_format_time(key.expires_at)}")
        fields.append(f"used={_format_time(key.last_used_at) if key.last_used_at else 'never'}")
        print("  ".join([*fields, key.note] if key.note else fields))


def _list_options(key: AccessKey) -> list[tuple[str, list[Any] | None]]:
    return [
        ("origins", key.origins),
        ("users", key.users),
        ("events_per_second", [key.events_per_second] if key.events_per_second else None),
        ("bytes_per_second", [key.bytes_per_second] if key.bytes_per_second else None),
    ]


def _limit(options: argparse.Namespace, url: str) -> None:
    """Change the limits of a key."""
    if options.events_per_second is None and options.bytes_per_second is None:
        raise UsageError("nothing to change: give --events-per-second, --bytes-per-second or both")
    if not limit_key(url, options.id, options.events_per_second, options.bytes_per_second):
        raise UsageError(_NO_KEY)
    print(f"limited {options.id}", file=sys.stderr)


def _revoke(options: argparse.Namespace, url: str) -> None:
    """Revoke a key."""
    if not revoke_key(url, options.id):
        raise UsageError(_NO_KEY)
    print(f"revoked {options.id}", file=sys.stderr)


def check_origin(text: str) -> str:
    """Return the origin of a page as browsers send it, or raise UsageError if `text` is none."""
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query or parts.fragment or not parts.scheme or not parts.hostname or "@" in text:
        raise UsageError(f"--origin {text}: it must be like https://app.example.com or chrome-extension://<id>")
    default = {"http": 80, "https": 443}.get(parts.scheme)
    try:
        port = "" if parts.port in (None, default) else f":{parts.port}"
    except ValueError:
        raise UsageError(f"--origin {text}: the port is no number") from None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def read_public_key(path: Path) -> tuple[str, str]:
    """Return the public key in a file as PEM, and the algorithm of its tokens, or raise UsageError."""
    private = f"--public-key {path}: it is a private key, which has to stay with the signer"
    try:
        data = path.read_bytes()
        if b"PRIVATE KEY-----" in data:
            raise UsageError(private)
        if data.lstrip().startswith(b"{"):
            key: Any = jwt.PyJWK.from_json(data.decode()).key
        elif b"BEGIN CERTIFICATE" in data:
            key = load_pem_x509_certificate(data).public_key()
        else:
            key = load_pem_public_key(data)
        if hasattr(key, "private_bytes"):
            raise UsageError(private)
        algorithm = find_algorithm(key)
    except OSError as error:
        raise UsageError(f"--public-key {path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm, jwt.PyJWTError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--public-key {path}: it is no public key that can be used: {reason}") from None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(), algorithm


def _read_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 31):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _read_duration(text: str) -> timedelta:
    match = re.fullmatch(r"([1-9]\d{0,8})([smhd])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 90d or 12h")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%MZ")


if __name__ == "__main__":
    sys.exit(main())
