"""What an older release left on a host is taken over: its settings, its program in one file, its modules' states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_configuration import variables

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import configuration, provision
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError
from ansible_collections.postern.mail_gateway.plugins.modules import letsencrypt_certificates as module

# certificates.json as 0.1.0 wrote it.
SETTINGS = """{
 "account": "certificates",
 "address": "127.0.0.1",
 "authority": "https://acme-v02.api.letsencrypt.org/directory",
 "bundle": "",
 "certbot_options": "",
 "certificates": [
  {"name": "mail", "names": ["mail.example.com"]},
  {"name": "web", "names": ["www.example.com"]}
 ],
 "contact": "hostmaster@example.com",
 "drop": "/srv/sftp/certificates/files",
 "folder": "/etc/haproxy",
 "gateways": ["gw1", "gw2"],
 "host": "gw1",
 "http_port": 8402,
 "key_size": 2048,
 "key_type": "rsa",
 "lineages": "/etc/letsencrypt",
 "locks": "/run",
 "metrics": "/var/lib/prometheus/node-exporter/postern_certificates.prom",
 "peers": [{"address": "10.0.0.2", "name": "gw2", "port": 22}],
 "port": 443,
 "self_test": true,
 "service": "haproxy",
 "socket": "/run/haproxy/admin.sock",
 "state": "/var/lib/postern/certificates"
}
"""


@pytest.fixture
def old_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with the program of 0.1.0, one file, and its settings."""
    settings, sbin = tmp_path / "certificates.json", tmp_path / "sbin"
    settings.write_text(SETTINGS)
    sbin.mkdir()
    (sbin / "postern-certificates").write_text("#!/usr/bin/python3 -I\nraise SystemExit('old')\n")
    (sbin / "postern-certificates").chmod(0o755)
    program = replace(configuration.PROGRAM, library=tmp_path / "lib", commands=sbin)
    monkeypatch.setattr(provision, "PROGRAM", program)
    monkeypatch.setattr(provision, "settings_of_host", lambda path=settings: provision.load(path))
    monkeypatch.setattr(provision, "host_files", lambda *_: [])
    monkeypatch.setattr(provision.Provision, "_units", lambda _self: {})
    return tmp_path


def test_its_settings_are_read_so_that_what_is_withdrawn_is_known(old_host: Path) -> None:
    given = variables()  # without the certificate "web"
    found = provision.Provision(configuration.settings(given), given)
    assert found.gone == ["web"]
    assert {part["before_header"] for part in found.diff()} == {
        str(old_host / "sbin" / "postern-certificates"), "certificate web",
    }  # fmt: skip


def test_its_program_is_replaced_by_one_run_and_the_second_changes_nothing(old_host: Path) -> None:
    given = variables(certificates=[{"name": name, "names": [f"{name}.example.com"]} for name in ("mail", "web")])
    settings = configuration.settings(given)
    (part,) = provision.Provision(settings, given).diff()
    assert (part["before"], part["after"]) == ("(there)\n", "(changed)\n")
    provision.Provision(settings, given).apply()
    command = old_host / "sbin" / "postern-certificates"
    assert command.is_symlink()
    assert command.resolve().is_relative_to(old_host / "lib")
    assert sorted(path.name for path in command.parent.iterdir()) == ["postern-certificates"]
    assert not provision.Provision(settings, given).changed


@pytest.mark.parametrize("state", list(module.GONE))
def test_an_old_state_ends_in_a_sentence_with_the_new_module(state: str) -> None:
    class Module:
        params: dict[str, Any] = {"state": state}

    with pytest.raises(HostError) as caught:
        module.work(Module())
    assert str(caught.value) == (
        f"state is '{state}', but letsencrypt_certificates has no states since 0.2.0; {module.GONE[state]} instead."
    )
    name = module.GONE[state].removeprefix("call ")
    folder = Path(module.__file__).parent
    assert name == "leave it out" or (folder / f"{name}.py").exists()


def test_the_old_time_limit_ends_in_a_sentence_with_the_new_module() -> None:
    class Module:
        params: dict[str, Any] = {"state": None, "wait": 60}

    with pytest.raises(HostError) as caught:
        module.work(Module())
    assert str(caught.value) == (
        "wait is 60, but letsencrypt_certificates waits for nothing since 0.2.0; call letsencrypt_certificates_info "
        "with it instead."
    )
