"""What HAProxy writes into the journal, and what nobody may write there."""

from __future__ import annotations

from lab import Lab


def test_no_log_holds_a_private_key(lab: Lab, gateway: str) -> None:
    # Ansible writes a module's options into the log of the host that it runs on.
    journal = lab.exec(gateway, ["journalctl", "--no-pager", "--output=cat"]).stdout
    assert "haproxy_configuration" in journal
    assert "PRIVATE KEY" not in journal
