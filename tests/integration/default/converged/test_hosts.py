"""What a gateway is, as its own system tells: packages, services, sockets, files, addresses, users.

It asks no probe and knows nothing of the lab, so it can be pointed at anybody's gateways:
``pytest tests/integration/default/converged/test_hosts.py --ansible-inventory INVENTORY --hosts 'ansible://gateways'``
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
testinfra_hosts = [f"ansible://gateways?ansible_inventory={ROOT / 'inventory' / 'lab'}"]


@pytest.fixture(scope="module")
def variables(host: Any) -> dict[str, Any]:
    """The host's variables in the inventory."""
    found: dict[str, Any] = host.ansible.get_variables()
    return found


def test_what_it_stands_on_is_installed(host: Any) -> None:
    for name in ("haproxy", "ufw", "fail2ban", "nftables", "openssh-server", "certbot"):
        assert host.package(name).is_installed, name


def test_services_run_and_begin_with_the_host(host: Any) -> None:
    for name in ("haproxy", "fail2ban", "certbot.timer"):
        service = host.service(name)
        assert (service.is_running, service.is_enabled) == (True, True), name


def test_the_firewall_is_on_now_and_after_a_boot(host: Any) -> None:
    assert host.service("ufw").is_enabled
    assert host.file("/etc/ufw/ufw.conf").contains("^ENABLED=yes$")
    assert "Status: active" in host.check_output("ufw status")


def test_what_is_published_and_sshd_listen_and_nothing_else(host: Any) -> None:
    listening = {name for name in host.socket.get_listening_sockets() if name.startswith("tcp://")}
    ports = {int(name.rpartition(":")[2]) for name in listening if "//127." not in name and "//::1" not in name}
    assert ports == {22, 25, 80, 110, 143, 443, 587, 993, 995, 8404}


def test_the_addresses_that_servers_see_are_there(host: Any, variables: dict[str, Any]) -> None:
    addresses = {text.partition("/")[0] for name in host.interface.names() for text in host.interface(name).addresses}
    assert {variables["mail_gateway_egress_address"], variables["mail_gateway_relay_address"]} <= addresses


def test_keys_are_roots_alone(host: Any) -> None:
    found = host.check_output("grep --recursive --files-with-matches 'PRIVATE KEY' /etc/haproxy /etc/letsencrypt")
    keys = found.split()
    assert keys
    for path in keys:
        key = host.file(path)
        assert (key.user, key.mode & 0o077) == ("root", 0), path


@pytest.mark.parametrize("path", ["/etc/haproxy/haproxy.cfg", "/etc/ssh/sshd_config.d/00-postern.conf"])
def test_what_the_roles_wrote_says_so_and_nobody_else_may_write_it(host: Any, path: str) -> None:
    file = host.file(path)
    assert (file.user, file.mode & 0o022) == ("root", 0)
    assert file.contains("^# Written by Ansible (role postern.mail_gateway.")


def test_the_account_by_which_certificates_come_has_no_shell(host: Any) -> None:
    account = host.user("certificates")
    assert account.exists
    assert account.shell in ("/usr/sbin/nologin", "/sbin/nologin", "/bin/false")
    assert account.password.startswith(("!", "*"))


def test_nothing_of_an_older_release_is_left(host: Any) -> None:
    for path in ("jail.d/postern-haproxy-held.local", "filter.d/postern-haproxy-held.conf"):
        assert not host.file(f"/etc/fail2ban/{path}").exists, path
    assert host.file("/usr/local/sbin/postern-certificates").is_symlink
    for path in ("/var/lib/postern/rollback", "/etc/systemd/system/postern-rollback-boot.service"):
        assert not host.file(path).exists, path
