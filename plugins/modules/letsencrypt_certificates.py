#!/usr/bin/python
# Copyright (c) 2026 postern.mail_gateway contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: letsencrypt_certificates
short_description: Certificates from an ACME authority, on one gateway or several
version_added: 0.1.0
author:
  - postern.mail_gateway contributors (@postern)
description:
  - Puts the program C(postern-certificates) onto a host and has it issue certificates by certbot, install them into
    HAProxy without a dropped connection, renew them by certbot's own timer, and hand them to the other gateways.
  - One gateway has a certificate issued, the first in O(gateways) that is there; the others get it from it over SFTP.
    No private key comes to the controller.
  - The authority is asked only where something is to be issued.
options:
  state:
    description:
      - V(identity) makes the key by which this host logs on to its peers, and returns its public half, the host's SSH
        host keys, and what it knows of its peers. Where O(host) isn't the host of the play and can't be asked, that is
        a warning.
      - V(checked) changes nothing, and fails where the variables or the authority can't be right.
      - V(configured) makes the host's files and units as they should be, and removes certificates that are no longer
        listed.
      - V(issued) has what is missing issued, installs it and hands it over, on the gateway whose turn it is - the first
        in O(gateways) that takes part in the run.
      - V(served) changes nothing, and fails where HAProxy doesn't present a good certificate. Without O(certificates),
        those that the host has are meant.
      - V(renewed) has everything issued anew at once, on the gateway whose turn it is, with the host's own settings.
    type: str
    choices: [identity, checked, configured, issued, served, renewed]
    required: true
  certificates:
    description: The certificates.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the file in HAProxy's folder C(certificates), without its ending.
        type: str
        required: true
      names:
        description: DNS names.
        type: list
        elements: str
        required: true
  authority:
    description: V(letsencrypt), V(letsencrypt-staging), or the C(https://) address of an ACME directory.
    type: str
    default: letsencrypt
  authority_ca_file:
    description: PEM file on the controller with the root that the ACME server's own certificate is verified against.
      Empty is the host's trust store.
    type: path
    default: ''
  authority_ca:
    description: Content of O(authority_ca_file); Ansible puts it here.
    type: str
    default: ''
  external_account_key_id:
    description: The key identifier of an account at the authority, where it wants ACME accounts bound to one.
    type: str
    default: ''
  external_account_hmac_key:
    description: The key that belongs to O(external_account_key_id), in base64url.
    type: str
    default: ''
  contact:
    description: E-mail address of the account.
    type: str
    default: ''
  key_type:
    description: Kind of the private keys. Exchange wants RSA.
    type: str
    choices: [rsa, ecdsa]
    default: rsa
  key_size:
    description: Bits of RSA keys.
    type: int
    choices: [2048, 3072, 4096]
    default: 2048
  http_port:
    description: Port on C(127.0.0.1) where certbot listens while it is validated; HAProxy passes challenges on to it.
    type: int
    default: 8402
  self_test:
    description: Whether each name's way to this host is tried before the authority is asked.
    type: bool
    default: true
  host:
    description: This host's name among the gateways.
    type: str
    default: ''
  gateways:
    description: All gateways, in the order in which they renew. Empty is this host alone.
    type: list
    elements: str
    default: []
  peers:
    description: The other gateways, which get the certificates.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name among the gateways.
        type: str
        required: true
      address:
        description: Where its sshd listens.
        type: str
        required: true
      port:
        description: Port of its sshd.
        type: int
        default: 22
      host_keys:
        description: Its SSH host keys, a line of C(.pub) each. Empty takes those in O(identities), or those that this
          host knows from an earlier run.
        type: list
        elements: str
        default: []
  identities:
    description: What V(identity) returned for the gateways, as a loop registers it (C(item) and C(identity)).
    type: list
    elements: dict
    default: []
  play_hosts:
    description: The hosts that take part in this run, with which gateways take turns. Empty is all of them.
    type: list
    elements: str
    default: []
  account:
    description: The account for SFTP on each gateway.
    type: str
    default: certificates
  metrics_file:
    description: Text file for Prometheus' node exporter. Empty is none.
    type: path
    default: /var/lib/prometheus/node-exporter/postern_certificates.prom
  tls_address:
    description: Address of this host where HAProxy is asked which certificate it presents.
    type: str
    default: 127.0.0.1
  tls_port:
    description: Port for that.
    type: int
    default: 443
  wait:
    description: Seconds that V(served) waits for a certificate from a peer.
    type: int
    default: 30
attributes:
  check_mode:
    description: Says exactly what would change and what would be issued, and asks the authority nothing.
    support: full
  diff_mode:
    description: A part for each file and each certificate; secrets are named only.
    support: full
"""

EXAMPLES = r"""
- name: Certificates are issued and renewed
  postern.mail_gateway.letsencrypt_certificates:
    state: "{{ item }}"
    host: "{{ inventory_hostname }}"
    certificates:
      - {name: mail, names: [mail.example.com, autodiscover.example.com]}
    contact: hostmaster@example.com
  loop: [configured, issued, served]
"""

RETURN = r"""
identity:
  description: The public key by which this host logs on to its peers, its own SSH host keys, and both of each peer as
    it knows them from earlier runs. Empty where it couldn't be asked.
  returned: with state identity
  type: dict
  sample: {public_key: ssh-ed25519 AAAA certificates@gw1, host_keys: [ssh-ed25519 AAAA], peers: {}}
certificates:
  description: How each certificate is, as C(postern-certificates --check --json) says it.
  returned: with states issued, served and renewed
  type: list
  elements: dict
  sample: [{name: mail, status: 0, problems: [], not_after: '2026-05-01T12:00:00+00:00'}]
summary:
  description: The same in words, a line each; with V(renewed), what is renewed and why.
  returned: with states served and renewed
  type: list
  elements: str
  sample: ['mail: OK, mail.example.com until 2026-05-01T12:00:00+00:00 (82% of its lifetime left)']
reasons:
  description: What was or would be issued, and why.
  returned: with states issued and renewed
  type: dict
  sample: {mail: there is only a self-signed one}
"""

import contextlib
import dataclasses
import json
import pwd
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates import configuration, program
from ..module_utils.certificates.program import Refused

KEY = configuration.STATE / "id_ed25519"
PUBLIC = {"pkey": ("-pubout", "-passin", "pass:"), "req": ("-noout", "-pubkey")}
"""How openssl is asked for the public key of a private key and of a request."""


def identity(module: AnsibleModule) -> dict[str, Any]:
    """Make the key, and return what the peers have to know."""
    if module.check_mode:
        return _identity(module, changed=not KEY.exists())
    # Several gateways may ask for it at the same time.
    with program.locked(Path("/run/postern-certificates.lock")):
        return _identity(module, changed=_make_key(module))


def _make_key(module: AnsibleModule) -> bool:
    changed = not KEY.exists()
    if changed:
        KEY.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = KEY.with_name(".id_ed25519.new")
        fresh.unlink(missing_ok=True)
        done = program.run(
            "ssh-keygen",
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            configuration.key_comment(module.params["host"]),
            "-f",
            str(fresh),
        )
        if done.returncode:
            raise Refused(f"ssh-keygen made no key: {program.last_line(done)}.")
        # The private half last: it is what says that the key is there.
        fresh.with_name(f"{fresh.name}.pub").replace(KEY.with_name("id_ed25519.pub"))
        fresh.replace(KEY)
    return changed


def _identity(module: AnsibleModule, *, changed: bool) -> dict[str, Any]:
    public = KEY.with_name("id_ed25519.pub")
    keys = [path.read_text(encoding="utf-8").strip() for path in sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub"))]
    return {
        "changed": changed,
        "identity": {"public_key": public.read_text(encoding="utf-8").strip() if public.exists() else "",
                     "host_keys": [" ".join(key.split()[:2]) for key in keys],
                     "peers": configuration.remembered(_authorized_keys(module.params["account"]), _known_hosts())},
        "diff": [{"before_header": str(KEY), "after_header": str(KEY), "before": "", "after": "a new key\n"}]
        if changed
        else [],
    }  # fmt: skip


def _authorized_keys(account: str) -> str:
    """Return the keys that log on to an account, from where sshd looks for them."""
    try:
        home = pwd.getpwnam(account).pw_dir
        done = program.run("/usr/sbin/sshd", "-T", "-C", f"user={account},host=localhost,addr=127.0.0.1")
    except (KeyError, Refused):  # no such account, no sshd
        return ""
    tokens = {"%%": "%", "%h": home, "%u": account}  # sshd_config(5), TOKENS
    paths = next((line.split()[1:] for line in done.stdout.splitlines() if line.startswith("authorizedkeysfile ")), [])
    paths = [re.sub("%[%hu]", lambda found: tokens[found[0]], path) for path in paths]
    return "\n".join((program.content_of(Path(home, path)) or b"").decode("utf-8", "replace") for path in paths)


def _known_hosts() -> str:
    return (program.content_of(configuration.STATE / "known_hosts") or b"").decode()


def copies(lineages: Path, name: str) -> list[Path]:
    """Return the copies of a lineage's private keys, and its requests, which certbot leaves when it deletes it."""

    def public(command: str, path: Path) -> str:
        return program.run("openssl", command, "-in", str(path), *PUBLIC[command]).stdout

    own = {public("pkey", path) for path in (lineages / "archive" / name).glob("privkey*.pem")} - {""}
    kept = (("pkey", "keys"), ("req", "csr")) if own else ()
    return [
        path
        for command, folder in kept
        for path in sorted((lineages / folder).glob("*.pem"))
        if public(command, path) in own
    ]


@contextlib.contextmanager
def _saying(said: list[str], name: str) -> Iterator[None]:
    """Add to what is said why a certificate is not issued, and go on with the others."""
    try:
        yield
    except Refused as refused:
        said.append(f"'{name}' is not issued: {refused}")


def before_of(path: Path = program.SETTINGS) -> program.Settings | None:
    """Return the settings of the last run; None where there are none."""
    try:
        return program.load(path)
    except Refused:
        return None


class Host:
    """The wanted state of one host."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        module.params["peers"] = configuration.with_host_keys(
            module.params["peers"], module.params["identities"], _known_hosts(), module.params["host"]
        )
        self.settings = configuration.settings(module.params)
        self.manager = program.Manager(self.settings)
        self.diff: list[dict[str, str]] = []

    @property
    def taking_turns(self) -> program.Settings:
        """The settings with those gateways alone that take part in this run: the first of them acts."""
        present = [name for name in self.settings.gateways if name in self.module.params["play_hosts"]]
        if self.settings.host not in present:
            return self.settings
        return dataclasses.replace(self.settings, gateways=tuple(present))

    def current(self, name: str) -> program.Bundle | None:
        try:
            return self.manager.installer(name).installed()
        except Refused:  # no openssl yet
            return None

    def reasons(self) -> dict[str, str]:
        """Return what this host should have issued now, and why."""
        found, settings = {}, self.taking_turns
        for wanted in settings.certificates:
            state = program.read_state(settings, wanted.name)
            if reason := program.reason_to_issue(settings, wanted, self.current(wanted.name), state):
                found[wanted.name] = reason
        return found

    def check(self) -> dict[str, Any]:
        """Ask the authority for its directory where something is to be issued: a wrong address shows there."""
        if self.reasons() and not self.module.check_mode:
            given, text = self.settings, self.module.params["authority_ca"]
            with contextlib.ExitStack() as stack:
                if given.bundle:
                    # The role's own file isn't there yet.
                    import tempfile

                    file = stack.enter_context(tempfile.NamedTemporaryFile("w", prefix="postern-", suffix=".pem"))
                    file.write(text)
                    file.flush()
                    given = dataclasses.replace(given, bundle=file.name)
                offered = program.directory(given)
            program.wants_account(given, offered)
        return {"changed": False}

    def configure(self) -> dict[str, Any]:
        """Make files, units and keys as they should be, and remove what is no longer listed."""
        files = configuration.host_files(self.settings, self.module.params)
        changed = [file for file in files if self._differs(file)]
        before = before_of()
        gone = configuration.withdrawn(before, self.settings)
        for file in changed:
            self._show(file)
        for name in gone:
            self.diff.append(_part(f"certificate {name}", "renewed by this role\n", ""))
        units = self._units()
        todo = [(unit, verb) for unit, verb in units.items() if self._unit_differs(unit, verb)]
        for unit, verb in todo:
            self.diff.append(
                _part(unit, "", f"{verb}d and started\n" if verb == "enable" else f"{verb}d and stopped\n")
            )
        if not self.module.check_mode:
            # Units that go are stopped while they are still known.
            for unit, verb in todo:
                if verb == "disable":
                    program.run("systemctl", "disable", "--now", "--quiet", unit)
            for name in gone:
                self._remove(name)
            for file in changed:
                self._put(file)
            if any(configuration.UNITS in file.path.parents for file in changed):
                program.run("systemctl", "daemon-reload")
            for unit, verb in todo:
                if verb == "enable":
                    done = program.run("systemctl", "enable", "--now", "--quiet", unit)
                    if done.returncode:
                        raise Refused(f"{unit} doesn't start: {program.last_line(done)}.")
            if not self.settings.certificates:
                self._leave(before)
        return {"changed": bool(changed or gone or todo), "diff": self.diff}

    @staticmethod
    def _leave(before: program.Settings | None) -> None:
        """Remove what is of no use without certificates."""
        shutil.rmtree(configuration.STATE, ignore_errors=True)
        with contextlib.suppress(OSError):
            configuration.STATE.parent.rmdir()  # others may keep something there
        if before and before.metrics:
            Path(before.metrics).unlink(missing_ok=True)

    def _units(self) -> dict[str, str]:
        wanted = {configuration.PATH_UNIT.name: "enable" if self.settings.peers else "disable"}
        if self.settings.certificates:
            wanted["certbot.timer"] = "enable"
        return wanted

    def _unit_differs(self, unit: str, verb: str) -> bool:
        enabled = program.run("systemctl", "is-enabled", "--quiet", unit).returncode == 0
        active = program.run("systemctl", "is-active", "--quiet", unit).returncode == 0
        return not (enabled and active) if verb == "enable" else enabled or active

    def _differs(self, file: configuration.HostFile) -> bool:
        before = program.content_of(file.path)
        if before != file.content:
            return True
        return before is not None and file.path.stat().st_mode & 0o7777 != file.mode

    def _show(self, file: configuration.HostFile) -> None:
        if file.secret or file.path == program.PROGRAM:
            before, after = ("(there)\n" if there else "" for there in (file.path.exists(), file.content is not None))
            after = "(changed)\n" if before and after else after
        else:
            before, after = (
                (content or b"").decode("utf-8", "replace") for content in (program.content_of(file.path), file.content)
            )
        self.diff.append(_part(str(file.path), before, after))

    def _put(self, file: configuration.HostFile) -> None:
        if file.content is None:
            file.path.unlink(missing_ok=True)
            if file.path.parent in (program.SETTINGS.parent, configuration.DROP_IN.parent):
                with contextlib.suppress(OSError):
                    file.path.parent.rmdir()
        else:
            program.put(file.path, file.content, file.mode)

    def _remove(self, name: str) -> None:
        """Remove a certificate that we had issued; the file stays where HAProxy still uses it."""
        # First, since it is the lineage that says which are its own.
        for path in copies(Path(self.settings.lineages), name):
            path.unlink(missing_ok=True)
        if Path(self.settings.lineages, "renewal", f"{name}.conf").exists():
            done = program.run("certbot", "delete", "--non-interactive", "--cert-name", name)
            if done.returncode:
                raise Refused(f"certbot can't delete '{name}': {program.last_line(done)}.")
        installer = program.Installer(self.settings, program.Wanted(name, ()))
        if not installer.used():
            installer.target.unlink(missing_ok=True)
        program.state_path(self.settings, name).unlink(missing_ok=True)
        Path(self.settings.state, "handed", f"{name}.pem").unlink(missing_ok=True)

    def issue(self) -> dict[str, Any]:
        """Have issued what is missing, and hand it over; what a peer has handed over is put in use."""
        said: list[str] = []
        reasons, changed = self.reasons(), False
        for wanted in self.settings.certificates:
            name = wanted.name
            if name in reasons:
                changed = True
                self.diff.append(
                    _part(f"certificate {name}", f"{reasons[name]}\n",
                          f"issued by {self.settings.authority} for {', '.join(wanted.names)}\n")
                )  # fmt: skip
            if self.module.check_mode:
                continue
            with _saying(said, name):
                # What certbot has already, or a peer has handed over, needs no new one.
                changed = self.manager.heal(name) or changed
                if name in self.reasons():
                    self.manager.issue(name)
        if not self.module.check_mode:
            changed = self._hand_over(said) or changed
        return {"changed": changed, "diff": self.diff, "reasons": reasons, **self._health()}

    def _hand_over(self, said: list[str]) -> bool:
        """Hand all to the peers, which may be down; then fail with what was said before. Tell if any was sent."""
        for wanted in self.settings.certificates:
            for sentence in self.manager.hand_over(wanted.name):
                self.module.warn(sentence)
        with contextlib.suppress(OSError):
            self.manager.write_metrics()
        if said:
            raise Refused(" ".join(said))
        return bool(self.manager.sent)

    def renew(self) -> dict[str, Any]:
        """Have everything issued anew, with the settings that the host has."""
        reasons = {}
        if self.taking_turns.rank == 0:
            for wanted in self.settings.certificates:
                current = self.current(wanted.name)
                until = f", the one in use ends at {program.moment(current.leaf.not_after)}" if current else ""
                reasons[wanted.name] = f"it is asked for{until}"
                self.diff.append(_part(f"certificate {wanted.name}", f"{reasons[wanted.name]}\n", "issued anew\n"))
        if reasons and not self.module.check_mode:
            said: list[str] = []
            for name in reasons:
                with _saying(said, name):
                    self.manager.issue(name)
            self._hand_over(said)
        summary = [f"{name}: {reason}" for name, reason in reasons.items()]
        return {"changed": bool(reasons), "diff": self.diff, "reasons": reasons, "summary": summary, **self._health()}

    def served(self) -> dict[str, Any]:
        """Wait until every certificate is in use, which takes a moment where it comes from a peer."""
        if self.module.check_mode:
            return {"changed": False, "certificates": [], "summary": []}
        deadline, turns = time.monotonic() + self.module.params["wait"], self.taking_turns
        while True:
            found = self.manager.health()
            bad = [one for one in found if one["status"] == 2]
            if not bad or turns.rank == 0 or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if bad:
            text = "; ".join(f"'{one['name']}': {', '.join(one['problems'])}" for one in bad)
            whose = f"; {turns.gateways[0]} should have handed it over" if turns.rank else ""
            raise Refused(f"This gateway doesn't serve a good certificate ({text}{whose}).")
        for one in found:
            for problem in one["problems"]:
                self.module.warn(f"Certificate '{one['name']}': {problem}.")
        return {"changed": False, "certificates": found, "summary": program.show(found).splitlines()}

    def _health(self) -> dict[str, Any]:
        try:
            return {"certificates": self.manager.health()}
        except Refused:
            return {"certificates": []}


def _part(name: str, before: str, after: str) -> dict[str, str]:
    return {"before_header": name, "after_header": name, "before": before, "after": after}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["identity", "checked", "configured", "issued", "served", "renewed"],
                "required": True,
            },
            "certificates": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "names": {"type": "list", "elements": "str", "required": True},
                },
            },
            "authority": {"type": "str", "default": "letsencrypt"},
            "authority_ca_file": {"type": "path", "default": ""},
            "authority_ca": {"type": "str", "default": ""},
            "external_account_key_id": {"type": "str", "default": "", "no_log": False},
            "external_account_hmac_key": {"type": "str", "default": "", "no_log": True},
            "contact": {"type": "str", "default": ""},
            "key_type": {"type": "str", "choices": ["rsa", "ecdsa"], "default": "rsa", "no_log": False},
            "key_size": {"type": "int", "choices": [2048, 3072, 4096], "default": 2048, "no_log": False},
            "http_port": {"type": "int", "default": 8402},
            "self_test": {"type": "bool", "default": True},
            "host": {"type": "str", "default": ""},
            "gateways": {"type": "list", "elements": "str", "default": []},
            "peers": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "address": {"type": "str", "required": True},
                    "port": {"type": "int", "default": 22},
                    "host_keys": {"type": "list", "elements": "str", "default": [], "no_log": False},
                },
            },
            "identities": {"type": "list", "elements": "dict", "default": []},
            "play_hosts": {"type": "list", "elements": "str", "default": []},
            "account": {"type": "str", "default": "certificates"},
            "metrics_file": {
                "type": "path",
                "default": "/var/lib/prometheus/node-exporter/postern_certificates.prom",
            },
            "tls_address": {"type": "str", "default": "127.0.0.1"},
            "tls_port": {"type": "int", "default": 443},
            "wait": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    state = module.params["state"]
    try:
        if state == "identity":
            result = identity(module)
        else:
            host = Host(module)
            if state == "renewed" or (state == "served" and not module.params["certificates"]):
                host.settings = before_of() or host.settings
                host.manager = program.Manager(host.settings)
            action = {
                "checked": host.check,
                "configured": host.configure,
                "issued": host.issue,
                "served": host.served,
                "renewed": host.renew,
            }[state]
            result = action()
    except (Refused, configuration.BadVariables) as error:
        module.fail_json(msg=str(error))
    except (OSError, json.JSONDecodeError) as error:
        where = getattr(error, "filename", None) or "The host"
        module.fail_json(msg=f"{where}: {getattr(error, 'strerror', error)}; see to it on the host and run again.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
