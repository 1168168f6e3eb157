"""The files from which Envoy takes its certificate."""

import json
import stat
from pathlib import Path

from server.stack.envoy_tls import EnvoyTls
from server.tls import Certificate


def test_the_files_are_private_replaced_as_a_whole_and_removed(tmp_path: Path) -> None:
    tls = EnvoyTls(tmp_path)
    tls.write(Certificate(b"chain", b"key", b"issuer"))
    before = tls.certificate.stat().st_ino
    (tmp_path / "tls-certificate.new").write_text("what a stack that was killed has left")
    tls.write(Certificate(b"new chain", b"new key", b"new issuer"))
    (pair,) = json.loads(tls.certificate.read_text())["resources"]
    assert pair["tls_certificate"] == {
        "certificate_chain": {"inline_string": "new chain"},
        "private_key": {"inline_string": "new key"},
    }
    (issuer,) = json.loads(tls.client_ca.read_text())["resources"]
    assert issuer["validation_context"] == {"trusted_ca": {"inline_string": "new issuer"}}
    assert tls.certificate.stat().st_ino != before
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()] == [0o600, 0o600]
    (tmp_path / "tls-client-ca.new").touch()
    tls.remove()
    assert list(tmp_path.iterdir()) == []
