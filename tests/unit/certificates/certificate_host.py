"""A gateway in one folder: a real HAProxy with TLS on loopback, the program, and an authority made with openssl.

Only systemd is a stand-in: a `systemctl` on the PATH that reloads as Debian's unit does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import (
    configuration,
    haproxy_swap,
    settings,
    x509,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.programs import write_package

NAMES = ("mail.example.test", "autodiscover.example.test")
SYSTEMCTL = """#!/bin/sh
[ "$1" = reload ] || exit 1
echo reload >>{folder}/reloads
haproxy -c -q -f {folder}/etc/haproxy.cfg && kill -USR2 "$(cat {folder}/master)"
"""
HAPROXY = """\
global
    default-path config
    stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout client 30s
    timeout server 30s
    timeout connect 5s
frontend web
    bind 127.0.0.1:{port} ssl crt-list certificates.crt-list
    http-request return status 200 content-type text/plain string "here"
"""


def openssl(*arguments: str, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *arguments], input=data, check=True, capture_output=True).stdout


class Authority:
    """A root, an intermediate, and leaves of every kind. Keys are made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made = 0
        self.keys = {kind: self.key(kind) for kind in ("root", "intermediate", "rsa", "other", "ecdsa", "small")}
        self.root = self.sign("Root", "root", None, authority=True)
        self.intermediate = self.sign("Intermediate", "intermediate", (self.root, "root"), authority=True)

    def key(self, kind: str) -> Path:
        path = self.folder / f"{kind}.key"
        options = {
            "ecdsa": ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            "small": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"],
        }.get(kind, ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
        openssl("genpkey", *options, "-out", str(path))
        return path

    def sign(
        self,
        subject: str,
        key: str,
        issuer: tuple[bytes, str] | None,
        names: tuple[str, ...] = (),
        begins: float = -3600,
        ends: float = 86400,
        *,
        authority: bool = False,
    ) -> bytes:
        """Return a certificate, valid between two times relative to now."""
        self.made += 1
        work = self.folder / f"work{self.made}"
        work.mkdir()
        (work / "index").touch()
        (work / "serial").write_text(f"{0x1000 + self.made:X}\n")
        extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
        if not authority:
            extensions = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n"
            extensions += f"subjectAltName={','.join('DNS:' + name for name in names)}\n"
        (work / "ca.cnf").write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={work}/index\nserial={work}/serial\nnew_certs_dir={work}\n"
            f"default_md=sha256\npolicy=p\nunique_subject=no\nx509_extensions=e\n[p]\ncommonName=supplied\n"
            f"[e]\n{extensions}"
        )
        openssl("req", "-new", "-key", str(self.keys[key]), "-subj", f"/CN={subject}", "-out", str(work / "csr"))
        signer = ["-selfsign", "-keyfile", str(self.keys[key])]
        if issuer:
            (work / "issuer").write_bytes(issuer[0])
            signer = ["-cert", str(work / "issuer"), "-keyfile", str(self.keys[issuer[1]])]
        times = [time.strftime("%y%m%d%H%M%SZ", time.gmtime(time.time() + offset)) for offset in (begins, ends)]
        openssl(
            "ca", "-batch", "-notext", "-config", str(work / "ca.cnf"), *signer, "-in", str(work / "csr"),
            "-out", str(work / "crt"), "-startdate", times[0], "-enddate", times[1],
        )  # fmt: skip
        return (work / "crt").read_bytes()

    def pem(self, names: tuple[str, ...] = NAMES, key: str = "rsa", **more: Any) -> bytes:
        """Return key, certificate and intermediate."""
        leaf = self.sign(names[0], key, (self.intermediate, "intermediate"), names, **more)
        return self.keys[key].read_bytes() + leaf + self.intermediate


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class Host:
    """A gateway in one folder."""

    folder: Path
    settings: settings.Settings
    process: subprocess.Popen[bytes] | None = None

    @property
    def program(self) -> Path:
        """The program as the role puts it onto a host."""
        path = self.folder / "program" / "postern-certificates"
        if not path.exists():
            write_package(path.parent, configuration.PROGRAM.files)
        return path

    @property
    def target(self) -> Path:
        return self.folder / "etc" / "certificates" / "mail.pem"

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.target.parent.iterdir())

    @property
    def installer(self) -> haproxy_swap.Installer:
        return haproxy_swap.Installer(self.settings, self.settings.certificates[0])

    def start(self) -> None:
        with (self.folder / "journal").open("ab") as journal:
            self.process = subprocess.Popen(
                ["haproxy", "-W", "-f", str(self.folder / "etc" / "haproxy.cfg")],
                stdout=journal, stderr=journal, start_new_session=True,
            )  # fmt: skip
        (self.folder / "master").write_text(str(self.process.pid))
        deadline = time.monotonic() + 10
        while not self.installer.presented():
            assert time.monotonic() < deadline, (self.folder / "journal").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        if self.process:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def presents(self) -> str:
        (found,) = self.installer.presented()
        return found

    def reloads(self) -> int:
        path = self.folder / "reloads"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def lineage(self, pem: bytes, name: str = "mail") -> None:
        """Put key and chain where certbot would."""
        bundle = x509.bundle_from(pem)
        live = Path(self.settings.lineages, "live", name)
        live.mkdir(parents=True, exist_ok=True)
        (live / "privkey.pem").write_bytes(bundle.key + b"\n")
        (live / "fullchain.pem").write_bytes(b"\n".join(bundle.chain) + b"\n")
        # As certbot keeps the hook that it was given with --deploy-hook.
        hook = "renew_hook = /usr/local/sbin/postern-certificates install"
        path = Path(self.settings.lineages, "renewal", f"{name}.conf")
        if not path.exists():
            path.write_text(f"version = 2.1.0\n[renewalparams]\n{hook}\n")

    def run(self, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the program as the host does; ``before`` stands for a tracer."""
        return subprocess.run(
            [sys.executable, "-IB", *before, str(self.program), "--settings", str(self.folder / "settings.json"),
             *arguments],
            check=False, capture_output=True, text=True,
        )  # fmt: skip


Changed = Callable[..., Host]
