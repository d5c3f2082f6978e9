#!/usr/bin/env python3
"""The lab's hosts, as an Ansible inventory. The lab writes down where it is; everything else is written here."""

import json
import os
import sys
from pathlib import Path

STATE = Path(__file__).resolve().parents[2] / ".cache" / f"lab{os.environ.get('POSTERN_LAB', '')}" / "lab.json"


def inventory() -> dict[str, object]:
    """Return the inventory in the form that Ansible takes from a program (``--list``).

    Raises:
        OSError: The lab isn't up.
    """
    lab = json.loads(STATE.read_text())
    hosts, ssh = lab["hosts"], lab["ssh"]

    def gateway(name: str) -> dict[str, object]:
        return {
            "ansible_host": hosts[name]["admin"][0],
            "mail_gateway_egress_address": hosts[name]["inside"][0],
            "mail_gateway_relay_address": lab["relay_addresses"][name],
        }

    def server(name: str) -> dict[str, object]:
        return {"ansible_host": hosts[name]["inside"][0], "exchange_server": f"{name}.example.test"}

    way_in = {
        "ansible_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_private_key_file": ssh["key"],
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={ssh['known_hosts']} -o StrictHostKeyChecking=yes",
        "ansible_control_path": ssh["control_path"].replace("%", "%%"),
    }
    return {
        "gateways": {
            "hosts": ["gw1", "gw2"],
            "vars": {"ansible_user": ssh["user"], "ansible_become": True, **way_in},
        },
        # A real server is reached over WinRM or SSH for Windows; the stand-in is a Linux host with a PowerShell.
        "exchange": {
            "hosts": ["ex1", "ex2"],
            "vars": {"ansible_connection": "ssh", "ansible_user": "root", **way_in},
        },
        "all": {
            "vars": {
                "lab_slot": lab["slot"],
                "lab_folder": str(STATE.parent),
                "lab_has_powershell": lab["powershell"],
            },
        },
        "_meta": {
            "hostvars": {
                **{name: gateway(name) for name in ("gw1", "gw2")},
                **{name: server(name) for name in ("ex1", "ex2")},
            },
        },
    }


if __name__ == "__main__":
    try:
        json.dump(inventory(), sys.stdout, indent=2)
    except (OSError, ValueError):
        sys.exit("The lab isn't up, so its inventory is empty: run 'make lab'.")
