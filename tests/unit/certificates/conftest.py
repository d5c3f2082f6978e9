"""The fixtures of these tests; what they are made of is in certificate_host.py."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import (
    settings,
)

sys.path.insert(0, str(Path(__file__).resolve().parent))

from certificate_host import HAPROXY, NAMES, SYSTEMCTL, Authority, Changed, Host, free_port, openssl


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def pems(authority: Authority) -> dict[str, bytes]:
    """Certificates that tests take turns with, oldest first."""
    return {
        name: authority.pem(begins=begins)
        for name, begins in (("first", -7200), ("second", -3600), ("third", -1800))
    }  # fmt: skip


@pytest.fixture
def host(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    with TemporaryDirectory(prefix="lx") as name:
        folder = Path(name)
        for made in ("etc/certificates", "state", "locks", "bin", "drop", "letsencrypt/renewal"):
            (folder / made).mkdir(parents=True)
        (folder / "bin" / "systemctl").write_text(SYSTEMCTL.format(folder=folder))
        (folder / "bin" / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        assert shutil.which("haproxy"), "These tests ask HAProxy itself: install the package haproxy."
        port = free_port()
        given = settings.Settings(
            host="gw1", certificates=(settings.Wanted("mail", NAMES),), authority="https://acme.example.test/dir",
            gateways=("gw1", "gw2"), port=port, http_port=free_port(), folder=f"{folder}/etc",
            socket=f"{folder}/admin.sock", state=f"{folder}/state", lineages=f"{folder}/letsencrypt",
            locks=f"{folder}/locks", drop=f"{folder}/drop", metrics=f"{folder}/state/metrics.prom",
        )  # fmt: skip
        (folder / "settings.json").write_text(settings.settings_text(given))
        (folder / "etc" / "haproxy.cfg").write_text(HAPROXY.format(folder=folder, port=port))
        (folder / "etc" / "certificates.crt-list").write_text("certificates/mail.pem\n")
        made = Host(folder, given)
        # As role haproxy leaves it: one that the host signed itself.
        pem = openssl(
            "req", "-x509", "-nodes", "-key", str(authority.keys["other"]), "-subj", "/CN=mail.example.test",
            "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in NAMES), "-days", "365",
        )  # fmt: skip
        made.target.write_bytes(authority.keys["other"].read_bytes() + pem)
        made.target.chmod(0o600)
        made.start()
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture
def changed(host: Host) -> Changed:
    """A function that changes the host's settings."""

    def change(**values: Any) -> Host:
        content = json.loads(settings.settings_text(host.settings)) | values
        host.settings = settings.settings_from(content)
        (host.folder / "settings.json").write_text(settings.settings_text(host.settings))
        return host

    return change
