# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else owns the kernel's tables on a host. Two owners can't be kept apart, but they can be named."""

from __future__ import annotations

from .commands import Runner, run

TABLES = {
    "nftables.service": "each start of it removes all rules, ufw's and Fail2Ban's as well ('flush ruleset' in "
    "/etc/nftables.conf)",
    "firewalld.service": "it has rules of its own, which are asked beside ufw's",
    "netfilter-persistent.service": "at boot it loads the rules that were saved once, in ufw's place or on top",
}
"""Units that load rules into the kernel, and what comes of it."""


def other_owners(runner: Runner = run) -> list[str]:
    """Return a sentence for each unit that loads rules as well, now or at the next boot."""
    asked = runner("systemctl", "show", "--property=Id,ActiveState,UnitFileState", "--", *TABLES)
    if asked.returncode or not asked.stdout.strip():
        return [f"systemctl doesn't say whether {', '.join(TABLES)} load rules on this host as well; look yourself."]
    said = []
    for block in asked.stdout.split("\n\n"):
        state = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = state.get("Id", "")
        enabled, active = state.get("UnitFileState", "").startswith("enabled"), state.get("ActiveState") == "active"
        if name in TABLES and (enabled or active):
            how = "is enabled" if enabled else "runs"
            # Not "--now": to stop one empties the kernel's tables, ours among them.
            said.append(f"{name} {how} on this host: {TABLES[name]}; 'systemctl disable {name}' if nobody needs it.")
    return said
