"""The lab's certificate authority and the certificates that it issues, made with the openssl command."""

import os
import subprocess
import tempfile
from pathlib import Path

from lab.errors import LabError
from lab.podman import last_line
from lab.topology import DOMAIN

WEEK = 7 * 24 * 3600
#: Each certificate and its names. `mail` is what the gateways and the Exchange servers both present.
CERTIFICATES = {
    "mail": [f"{name}.{DOMAIN}" for name in ("mail", "autodiscover", "ex1", "ex2")],
    "www": [f"www.{DOMAIN}"],
    "acme": [f"acme.{DOMAIN}"],
}


def _openssl(*arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"'openssl {arguments[0]}' failed: {last_line(done.stderr)}")
    return done.stdout


def _is_good(certificate: Path, authority: Path) -> bool:
    """Tell whether a certificate is there, signed by the authority, and valid for another week."""
    if not certificate.is_file() or not authority.is_file():
        return False
    checks = (
        ["x509", "-in", str(certificate), "-noout", "-checkend", str(WEEK)],
        ["verify", "-CAfile", str(authority), str(certificate)],
    )
    return all(
        subprocess.run(["openssl", *check], capture_output=True, check=False).returncode == 0 for check in checks
    )


def _write(path: Path, text: str) -> None:
    """Put a file in place in one step, readable by its owner only."""
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(path)


def _make_authority(folder: Path) -> None:
    key, certificate = folder / "ca.key", folder / "ca.pem"
    _openssl(
        "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "1825", "-subj", "/CN=Lab authority",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    key.chmod(0o600)


def _issue(folder: Path, names: list[str]) -> str:
    """Return key, certificate and authority as one PEM text: RSA with 2048 bits, valid for 90 days."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        key, request, certificate, extensions = (Path(scratch) / name for name in ("key", "csr", "crt", "ext"))
        _openssl("req", "-new", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN={names[0]}",
                 "-keyout", str(key), "-out", str(request))  # fmt: skip
        extensions.write_text(
            f"subjectAltName={','.join('DNS:' + name for name in names)}\n"
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n"
            "extendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        )
        _openssl("x509", "-req", "-in", str(request), "-CA", str(folder / "ca.pem"), "-CAkey", str(folder / "ca.key"),
                 "-days", "90", "-extfile", str(extensions), "-out", str(certificate))  # fmt: skip
        return key.read_text() + certificate.read_text() + (folder / "ca.pem").read_text()


def make_certificates(folder: Path) -> None:
    """Make what is missing, or ends within a week: `ca.pem`, and one `NAME.pem` (key, certificate, chain) each.

    Raises:
        LabError: openssl failed.
    """
    os.umask(0o022)
    folder.mkdir(parents=True, exist_ok=True)
    if not _is_good(folder / "ca.pem", folder / "ca.pem"):
        _make_authority(folder)
    for name, names in CERTIFICATES.items():
        if not _is_good(folder / f"{name}.pem", folder / "ca.pem"):
            _write(folder / f"{name}.pem", _issue(folder, names))
