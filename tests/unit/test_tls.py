"""The certificate of the ports: which files are refused, and when a change of them is taken over."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from server.settings import TlsFiles
from server.tls import Certificate, CertificateWatch, check_permissions, read_certificate
from server.variables import ConfigurationError
from tests.support.certificates import Issuer, encode_key, replace, write_files

ISSUER = Issuer()


def test_files_that_fit_together_are_read_as_they_are(tmp_path: Path) -> None:
    pem = ISSUER.issue()
    client_ca = b"# L\xf6we\n" + ISSUER.certificate  # Some lists of issuers have comments in Latin-1.
    files = write_files(tmp_path, pem, client_ca)
    assert read_certificate(files) == Certificate(pem.certificate, pem.key, client_ca)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("server.key", ISSUER.issue().key, "TLS_KEY={}/server.key is not the key of TLS_CERT={}/server.crt"),
        ("server.key", b"", "TLS_KEY={}/server.key cannot be used"),
        ("server.crt", b"", "TLS_CERT={}/server.crt with"),
        ("server.crt", b"\xff\x00", "TLS_CERT={}/server.crt with"),
        ("server.crt", None, "TLS_CERT={}/server.crt cannot be read: No such file or directory"),
        ("server.key", None, "TLS_KEY={}/server.key cannot be read: No such file or directory"),
        ("ca.crt", None, "TLS_CLIENT_CA={}/ca.crt cannot be read: No such file or directory"),
        ("ca.crt", b"", "TLS_CLIENT_CA={}/ca.crt holds no certificate"),
        ("ca.crt", b"\xff", "TLS_CLIENT_CA={}/ca.crt holds no certificate"),
        (
            "server.key",
            encode_key(ec.generate_private_key(ec.SECP256R1()), b"secret"),
            "TLS_KEY={}/server.key has a passphrase",
        ),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    files = write_files(tmp_path, ISSUER.issue(), ISSUER.certificate)
    if content is None:
        (tmp_path / name).unlink()
    else:
        replace(tmp_path / name, content)
    with pytest.raises(ConfigurationError) as caught:
        read_certificate(files)
    assert message.replace("{}", str(tmp_path)) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize(
    ("mode", "fits"), [(0o600, True), (0o640, True), (0o644, False), (0o604, False), (0o602, False)]
)
def test_a_key_that_is_open_to_every_account_is_refused(tmp_path: Path, mode: int, *, fits: bool) -> None:
    files = write_files(tmp_path, ISSUER.issue())
    files.key.chmod(mode)
    if fits:
        check_permissions(files)
    else:
        with pytest.raises(ConfigurationError, match=r"TLS_KEY=.*chmod o="):
            check_permissions(files)


class Watched:
    """Files of TLS that are watched, and what was said about them."""

    def __init__(self, directory: Path, seconds: float = 0.0) -> None:
        self.files = write_files(directory, ISSUER.issue())
        self.warnings: list[str] = []
        self.watch = CertificateWatch(self.files, read_certificate(self.files), self.warnings.append, seconds)


def overwrite(path: Path, content: bytes) -> None:
    """Change a file in its place."""
    path.write_bytes(content)


@pytest.mark.parametrize("change", [replace, overwrite])
def test_a_new_pair_is_found_once_both_files_are_there(tmp_path: Path, change: Callable[[Path, bytes], None]) -> None:
    watched = Watched(tmp_path)
    new = ISSUER.issue()
    change(watched.files.certificate, new.certificate)
    assert [watched.watch.find_new() for _ in range(3)] == [None] * 3
    assert len(watched.warnings) == 1
    assert "is not the key of" in watched.warnings[0]
    change(watched.files.key, new.key)
    assert watched.watch.find_new() == Certificate(new.certificate, new.key, None)
    assert watched.watch.find_new() is None
    assert len(watched.warnings) == 1


def test_a_link_to_a_new_pair_is_followed(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    (tmp_path / "current").symlink_to("old")
    new = ISSUER.issue()
    new.write(tmp_path / "new", "server")
    ISSUER.issue().write(tmp_path / "old", "server")
    files = TlsFiles(tmp_path / "current" / "server.crt", tmp_path / "current" / "server.key", None)
    watch = CertificateWatch(files, read_certificate(files), lambda _: None, 0.0)
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(tmp_path / "current")
    found = watch.find_new()
    assert found is not None
    assert found.chain == new.certificate


def test_files_that_vanish_or_do_not_change_leave_the_old_pair(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    os.utime(watched.files.key)
    assert watched.watch.find_new() is None
    assert watched.warnings == []
    watched.files.key.unlink()
    assert [watched.watch.find_new() for _ in range(3)] == [None] * 3
    (warning,) = watched.warnings
    assert "No such file or directory" in warning


def test_a_fault_that_comes_back_is_said_again(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    key = watched.files.key.read_bytes()
    for _ in range(2):
        overwrite(watched.files.key, b"half")
        assert watched.watch.find_new() is None
        overwrite(watched.files.key, key)
        assert watched.watch.find_new() is None
    assert len(watched.warnings) == 2


def test_the_files_are_not_looked_at_more_often_than_asked_for(tmp_path: Path) -> None:
    watched = Watched(tmp_path, seconds=3600)
    assert watched.watch.find_new() is None
    ISSUER.issue().write(tmp_path, "server")
    assert watched.watch.find_new() is None
