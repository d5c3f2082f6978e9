"""What goes with a certificate that is withdrawn: the copies that certbot keeps of its keys, and its requests."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates.provision import copies


def key(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path],
                   check=True, capture_output=True)  # fmt: skip
    return path


def request(path: Path, signer: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["openssl", "req", "-new", "-key", signer, "-subj", "/CN=www.example.test", "-out", path],
                   check=True, capture_output=True)  # fmt: skip


def test_copies_are_those_of_the_lineage_alone(tmp_path: Path) -> None:
    own = [key(tmp_path / "archive" / "www" / f"privkey{number}.pem") for number in (1, 2)]
    other = key(tmp_path / "archive" / "mail" / "privkey1.pem")
    for number, path in enumerate((*own, other)):
        # As certbot numbers them: keys and requests each by themselves.
        (tmp_path / "keys").mkdir(exist_ok=True)
        (tmp_path / "keys" / f"{number:04}_key-certbot.pem").write_bytes(path.read_bytes())
        request(tmp_path / "csr" / f"{number + 3:04}_csr-certbot.pem", path)
    (tmp_path / "keys" / "broken.pem").write_text("half")
    (tmp_path / "csr" / "empty.pem").touch()
    found = [str(path.relative_to(tmp_path)) for path in copies(tmp_path, "www")]
    assert found == [
        "keys/0000_key-certbot.pem",
        "keys/0001_key-certbot.pem",
        "csr/0003_csr-certbot.pem",
        "csr/0004_csr-certbot.pem",
    ]
    # A lineage whose keys can't be read, or that isn't there, owns nothing: not what is as unreadable.
    (tmp_path / "archive" / "torn").mkdir()
    (tmp_path / "archive" / "torn" / "privkey1.pem").write_text("half")
    assert copies(tmp_path, "torn") == copies(tmp_path, "gone") == []
