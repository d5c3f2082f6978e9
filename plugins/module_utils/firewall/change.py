# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole of a change to the firewall: worked out, tried, guarded, and proven by what the kernel holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..host.errors import HostError
from ..host.files import beside, diff_part
from ..host.owners import other_owners
from ..host.ssh_client import Origin
from ..host.units import start_with_host, starting_diff, starts_with_host
from ..rollback.guard import RollbackGuard, sentence
from ..rollback.program import Command
from .decision import refusal
from .desired import wanted_rules
from .kernel import IPTABLES, Live, undoing
from .merging import is_ours, merge
from .rules import listing
from .ufw import CONF, DEFAULTS, USER_RULES, State, Ufw, connection, scratch

UNIT = "ufw.service"
SAVED = "filter-table.v{}"  # of the running firewall, for the rollback
OURS = "ufw-part.v{}"  # what rolls ufw's part of it back
SBIN = "/usr/sbin"


class Firewall:
    """The way from the rules that are there to those that should be.

    :param variables: the arguments of the module ``ufw_rules``.
    :param controller: the connection that Ansible came over.
    :param warn: takes sentences that fail nothing.
    """

    def __init__(
        self,
        ufw: Ufw,
        guard: RollbackGuard,
        variables: Mapping[str, Any],
        controller: Origin | None,
        warn: Callable[[str], None],
        *,
        check_mode: bool,
    ) -> None:
        self.ufw = ufw
        self.guard = guard
        self.variables = variables
        self.controller = controller
        self.check_mode = check_mode
        self.warn = warn

    def run(self) -> dict[str, Any]:
        """Do it, and return the module's result."""
        if not self.ufw.installed:
            if self.check_mode:
                after = self._wanted(None)
                return self._result(after, self._differences(None, after, None, None))
            raise HostError("ufw is not installed on this host; install the package first.")
        report = self._report()
        for owner in other_owners(self.ufw.run):
            self.warn(owner)
        with self.ufw.locked(), scratch() as folder:
            before = self.ufw.state()
            after = self._wanted(before)
            self._refuse_lockout(after)
            texts = self.ufw.staged(folder, before, after)
            wanted, now = self.ufw.tried(folder), self.ufw.live()
            starts, differences = starts_with_host(UNIT, self.ufw.run), self._differences(before, after, wanted, now)
            parts = [*differences, *([] if starts else [starting_diff(UNIT)])]
            result = {**self._result(after, parts), "rolled_back": report}
            if self.check_mode:
                return result
            if differences:
                result["guard"] = self._apply(texts, wanted, now, starts)
                result["reloaded"] = True
                return result
            if not starts:
                start_with_host(UNIT, runner=self.ufw.run)
            if report:
                self.guard.forget_report()
        return result

    def _report(self) -> str:
        # A check changes nothing, so it may look on while a change waits.
        report = self.guard.last_report() if self.check_mode else self.guard.rolled_back()
        if not report or report["name"] != self.guard.name:
            return ""
        text = sentence(report)
        self.warn(text)
        return text

    def _wanted(self, before: State | None) -> State:
        params = self.variables
        marker = params["marker"]
        wanted = wanted_rules(params["rules"], self._profiles(), marker)
        present = before.rules if before else []
        rules = [
            rule
            for family in (4, 6)
            for rule in merge(
                [rule for rule in present if rule.family == family],
                [rule for rule in wanted if rule.family == family],
                marker,
                params["exact"],
            )
        ]
        policies = {name: params[f"default_{name}"] for name in ("incoming", "outgoing", "routed")}
        return State(enabled=True, logging=params["logging"], policies=policies, ipv6=True, rules=rules)

    def _profiles(self) -> dict[str, list[str]] | None:
        used = any(rule["application"] or rule["source_application"] for rule in self.variables["rules"])
        if not used:
            return {}
        return self.ufw.profiles() if self.ufw.installed else None

    def _refuse_lockout(self, after: State) -> None:
        found = self.controller
        if found is None:
            return
        reason = refusal(
            after.rules,
            connection(found.address, found.local_address, found.local_port),
            after.policies["incoming"],
        )
        if reason:
            raise HostError(reason)

    def _differences(
        self, before: State | None, after: State, wanted: Live | None, now: Live | None
    ) -> list[dict[str, str]]:
        """Return the parts of Ansible's diff for ufw's files, or for the running firewall where that alone differs."""
        old, new = before.lines() if before else [], after.lines()
        # A rule can change without its words: a profile's ports, say.
        if old != new or (before and before.rules != after.rules):
            return [_part("ufw", old, new)]
        if wanted and now and (difference := now.differences(wanted)):
            return [_part("running firewall", *difference)]
        return []

    def _result(self, after: State, parts: list[dict[str, str]]) -> dict[str, Any]:
        marker = self.variables["marker"]
        return {
            "changed": bool(parts),
            "reloaded": False,
            "rolled_back": "",
            "rules": listing([rule for rule in after.rules if is_ours(rule, marker)]),
            "other_rules": listing([rule for rule in after.rules if not is_ours(rule, marker)]),
            "diff": parts,
        }

    def _apply(self, texts: dict[str, str], wanted: Live, now: Live, starts: bool) -> dict[str, Any]:
        """Arm the guard, change files and firewall, and see that the kernel holds what was wanted.

        :param starts: whether ufw starts with the host already.
        """
        saved = {SAVED.format(family): text for family, text in now.text.items()}
        saved |= {OURS.format(family): undoing(now, wanted, family) for family in now.text}
        commands: list[Command] = [
            {
                "command": [f"{SBIN}/{IPTABLES[family]}-restore", "--noflush", self._text(OURS, family)],
                # Somebody has changed ufw's part meanwhile.
                "otherwise": [f"{SBIN}/{IPTABLES[family]}-restore", self._text(SAVED, family)],
            }
            for family in now.text
        ]
        if not starts:
            commands.append(["systemctl", "disable", "--quiet", UNIT])
        files = [self.ufw.path(name) for name in (*USER_RULES.values(), DEFAULTS, CONF)]
        with self.ufw.prepared(texts) as fresh:
            self.guard.arm(files=files, commands=commands, remove=map(beside, fresh), texts=saved)
            try:
                self.ufw.replace(fresh)
                self.ufw.load(wanted, now)
                if not self.ufw.live().same_as(wanted):
                    raise HostError("The running firewall isn't what ufw's files say: something else changes it.")
                if not starts:
                    start_with_host(UNIT, runner=self.ufw.run)
            except HostError as error:
                self.guard.roll_back_now(str(error))
                old = "The old rules are in place again" if now.active else "The firewall is off again, as it was"
                raise HostError(f"{error} {old}.") from error
        guard: dict[str, Any] = self.guard.as_result()
        return guard

    def _text(self, name: str, family: int) -> str:
        return str(self.guard.text_path(name.format(family)))


def _part(name: str, before: list[str], after: list[str]) -> dict[str, str]:
    return diff_part(name, *("".join(f"{line}\n" for line in lines) for lines in (before, after)))
