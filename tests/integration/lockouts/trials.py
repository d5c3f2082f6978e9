"""Ways to lock oneself out, by a role's variables or by what is on the host: data, and a play that tries them.

Each trial goes by itself: something is done to the host (``prepare``), a role's own task runs with the variables of
its scenario but for those given here, it must fail with ``sentence``, a fresh logon with the same credentials must work
afterwards, and the host must be as it was.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from logons import STATE, ssh_command

from lab import Lab
from lab.topology import GATEWAYS
from plays import ROOT, play

PAGE = ROOT / "docs" / "lockout-trials.md"
HEADINGS = {"sshd": "Role sshd", "firewall": "Role firewall"}
RECORD = Path(__file__).with_name("record.py")
SECONDS = 8
SOMEBODY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBTn2SAx0jyz1rWkD1S6c6FoSqCS4bp1pIYRv5nP3rbb somebody@example.test"
OURS = "{{ lookup('ansible.builtin.file', lab_folder ~ '/ssh/id_ed25519.pub') }}"
ROLLED_BACK = "was not confirmed, .* The host went back to what it was at .* and can be reached as before"
MODULES = {"sshd": "postern.mail_gateway.sshd_configuration", "firewall": "postern.mail_gateway.ufw_rules"}
ADMIN = "10.{{ lab_slot }}.3"


@dataclass(frozen=True)
class Trial:
    """One way. ``prepare`` and ``undo`` are shell commands on the host; ``connection`` is how Ansible comes there."""

    role: str
    name: str
    sentence: str
    variables: dict[str, Any] = field(default_factory=dict)
    rolled_back: bool = False
    prepare: str = ""
    undo: str = ""
    connection: dict[str, str] = field(default_factory=dict)


def settings(**values: Any) -> dict[str, Any]:
    return {"sshd_settings": values}


def key_of_account(*keys: str) -> dict[str, Any]:
    return {"sshd_authorized_keys": [{"user": "operator", "keys": list(keys), "exclusive": True}]}


def match(criteria: str, **values: Any) -> dict[str, Any]:
    return {"sshd_matches": [{"match": criteria, "settings": values}]}


def file(path: str, *lines: str) -> dict[str, str]:
    """A file that somebody else put on the host."""
    text = "\\n".join(lines)
    return {"prepare": f"printf '{text}\\n' >{path}", "undo": f"rm {path}"}


def edited(path: str, command: str) -> dict[str, str]:
    """A file that somebody else edited, by a command with its path as $1."""
    return {
        "prepare": f"cp -a {path} /root/kept && set -- {path} && {command}",
        "undo": f"cp -a /root/kept {path} && rm /root/kept",
    }


# Each command, and each copy of a file, by a connection of its own.
ALONE = {"ansible_ssh_args": "-o ControlMaster=no -o ControlPersist=no", "ansible_pipelining": "false"}
OURS_ASIDE = "mv /etc/ssh/sshd_config.d/00-postern.conf /root/kept"
OURS_BACK = "mv /root/kept /etc/ssh/sshd_config.d/00-postern.conf"


def before_the_role(path: str, key: str, *lines: str) -> dict[str, str]:
    """A host that the role hasn't been to yet, where somebody has a key and settings of his own."""
    text = "\\n".join(lines)
    return {
        "prepare": f"{OURS_ASIDE} && useradd --create-home --shell /bin/bash berta && "
        f"install -d {path.rpartition('/')[0]} && echo '{key}' >{path} && "
        f"printf '{text}\\n' >/etc/ssh/sshd_config.d/60-x.conf",
        "undo": f"rm /etc/ssh/sshd_config.d/60-x.conf {path}; userdel --remove berta 2>/dev/null; {OURS_BACK}",
    }


def until_next_start(how: dict[str, str]) -> dict[str, str]:
    """The same with a ufw that doesn't start with the host; nor may it after a change that was undone."""
    return {
        "prepare": f"{how['prepare']} && systemctl disable --quiet ufw",
        "undo": f"{how['undo']}; systemctl enable --quiet ufw",
    }


def listening(port: int, name: str) -> dict[str, str]:
    return {
        "prepare": f"systemd-run --quiet --unit={name} /usr/bin/python3 -m http.server {port}; "
        f"until ss -Hltn | grep -q :{port}; do sleep 0.1; done",
        "undo": f"systemctl stop {name}",
    }


SSHD = [
    Trial(
        "sshd", "AllowUsers without the account", "since AllowUsers .somebody. leaves it out",
        settings(AllowUsers=["somebody"]),
    ),
    Trial("sshd", "AllowGroups without its group", "since AllowGroups .wheel. leaves", settings(AllowGroups="wheel")),
    Trial("sshd", "DenyUsers with the account", "since DenyUsers .operator. names it", settings(DenyUsers="operator")),
    Trial("sshd", "DenyGroups with its group", "since DenyGroups .oper.. names it", settings(DenyGroups="oper*")),
    Trial(
        "sshd", "a Match block that denies the account from Ansible's address", "since DenyUsers .oper.*. names it",
        match(f"Address {ADMIN}.0/24", DenyUsers="oper*"),
    ),
    Trial(
        "sshd", "a Match block that turns keys off", "since PubkeyAuthentication is off for it in a Match block",
        match("User operator", PubkeyAuthentication=False),
    ),
    Trial(
        "sshd", "keys turned off", "sshd_settings.PubkeyAuthentication can't be set here",
        settings(PubkeyAuthentication=False),
    ),
    Trial("sshd", "an empty key list", "it would have no key left; give one", key_of_account()),
    Trial(
        "sshd", "a key that is none", "but what stands behind ssh-ed25519 isn't such a key",
        key_of_account("ssh-ed25519 AAAA nonsense"),
    ),
    Trial(
        "sshd", "keys for an account that isn't there", "there is no account 'nobody-here' on this host",
        {"sshd_authorized_keys": [{"user": "nobody-here", "keys": [SOMEBODY]}]},
    ),
    Trial(
        "sshd", "a listen address that isn't there", "192.0.2.99 is not an address of this host",
        {"sshd_listen_addresses": ["192.0.2.99"]},
    ),
    Trial(
        "sshd", "a port that is taken", "port 8099 is taken by python3 on this host", {"sshd_ports": [8099]},
        **listening(8099, "taken"),
    ),
    Trial("sshd", "a port that is none", "sshd_ports must hold ports from 1 to 65535", {"sshd_ports": [70000]}),
    Trial("sshd", "an algorithm that doesn't exist", "sshd refuses the new configuration", settings(Ciphers=["rot13"])),
    Trial("sshd", "a setting that doesn't exist", "sshd refuses the new configuration", settings(LetEverybodyIn=True)),
    Trial(
        "sshd", "a setting with a line break", "is not a setting of sshd; give a name and a value of one line",
        settings(Banner="none\nAllowUsers nobody"),
    ),
    Trial(
        "sshd", "passwords turned on", "sshd_settings.PasswordAuthentication can't be set here",
        settings(PasswordAuthentication=True),
    ),
    Trial(
        "sshd", "a Match block that turns passwords on", "can't be set here",
        match("User anna", PasswordAuthentication=True),
    ),
    Trial(
        "sshd", "a drop-in that sorts before the role's",
        r"/etc/ssh/sshd_config.d/00-cloud.conf line 2 \('PasswordAuthentication yes'\) wins over this role",
        **file("/etc/ssh/sshd_config.d/00-cloud.conf", "# cloud", "PasswordAuthentication yes"),
    ),
    Trial(
        "sshd", "somebody's Match block for the account",
        r"/etc/ssh/sshd_config.d/60-x.conf line 2 \('PasswordAuthentication yes', in the block .Match User operator.\) "
        "wins",
        **file("/etc/ssh/sshd_config.d/60-x.conf", "Match User operator", "PasswordAuthentication yes"),
    ),
    Trial(
        "sshd", "somebody's Match block for somebody",
        r"/etc/ssh/sshd_config.d/60-x.conf line 2 \(.PasswordAuthentication yes.* lets somebody log on without a key",
        **file("/etc/ssh/sshd_config.d/60-x.conf", "Match User anna", "PasswordAuthentication yes"),
    ),
    Trial(
        "sshd", "the same with a comment behind it", r"'PasswordAuthentication yes # for now'.* lets somebody log on",
        **file(
            "/etc/ssh/sshd_config.d/60-x.conf", "Match Address 198.51.100.0/24", "PasswordAuthentication yes # for now"
        ),
    ),
    Trial(
        "sshd", "the same by an old name", r"'SkeyAuthentication yes'.* lets somebody log on without a key",
        **file("/etc/ssh/sshd_config.d/60-x.conf", "Match Group staff", "SkeyAuthentication yes"),
    ),
    Trial(
        "sshd", "somebody's keys in a file elsewhere",
        r"People could not log on any more as they do now: berta .a key in /etc/ssh/people/berta would count no more.",
        **before_the_role(
            "/etc/ssh/people/berta", SOMEBODY, "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/people/%%u"
        ),
    ),
    Trial(
        "sshd", "somebody's second factor", r"berta .sshd would take publickey and keyboard-interactive no more.",
        **before_the_role(
            "/home/berta/.ssh/authorized_keys", SOMEBODY, "KbdInteractiveAuthentication yes", "Match User berta",
            "AuthenticationMethods publickey,keyboard-interactive",
        ),
    ),
    Trial(
        "sshd", "AllowUsers without somebody else", r"root .AllowUsers .operator. leaves it out.",
        settings(AllowUsers=["operator"]),
    ),
    Trial(
        "sshd", "somebody's file of keys, which would be written over",
        "isn't this role's, and 1 of its keys would be lost",
        key_of_account(OURS), **file("/etc/ssh/authorized_keys.d/operator", SOMEBODY),
    ),
    Trial(
        "sshd", "a kind of key that the controller's isn't",
        r"operator .a key in /home/operator/.ssh/authorized_keys would",
        settings(PubkeyAcceptedAlgorithms=["rsa-sha2-512"]),
    ),
    Trial(
        "sshd", "no Include in the main file", "doesn't include /etc/ssh/sshd_config.d",
        **edited("/etc/ssh/sshd_config", 'sed -i "s/^Include/#Include/" $1'),
    ),
    Trial(
        "sshd", "a full disk",
        "The rollback can't be written below /var/lib/postern/rollback .No space left on device.; nothing was changed",
        settings(MaxAuthTries=5),
        prepare="mkdir -p /var/lib/postern && mount -t tmpfs -o size=8k tmpfs /var/lib/postern && "
        "mkdir /var/lib/postern/rollback && head -c 8192 /dev/zero >/var/lib/postern/full; true",
        undo="umount /var/lib/postern; rmdir /var/lib/postern",
    ),
    Trial(
        "sshd", "a password beside the key",
        "sshd refuses the new configuration: AuthenticationMethods cannot be satisfied",
        settings(AuthenticationMethods="publickey,password"),
    ),
    Trial(
        "sshd", "no time for the confirmation", "undone is 1 seconds, but must be from 5 to 86400; nothing was changed",
        {**settings(MaxAuthTries=5), "sshd_rollback_seconds": 1},
    ),
    # From here on nobody can know beforehand.
    Trial("sshd", "keys of another account", ROLLED_BACK, key_of_account(SOMEBODY), rolled_back=True),
    Trial(
        "sshd", "a key that counts from elsewhere alone", ROLLED_BACK, key_of_account(f'from="192.0.2.1" {OURS}'),
        rolled_back=True,
    ),
    Trial(
        "sshd", "a key that has expired", ROLLED_BACK, key_of_account(f'expiry-time="20200101" {OURS}'),
        rolled_back=True,
    ),
    Trial(
        "sshd", "a key that runs one command alone", ROLLED_BACK, key_of_account(f'command="/bin/false" {OURS}'),
        rolled_back=True,
    ),
    Trial(
        "sshd", "a second key beside the first", ROLLED_BACK, settings(AuthenticationMethods="publickey,publickey"),
        rolled_back=True,
    ),
    Trial(
        "sshd", "a cipher that the controller lacks", ROLLED_BACK, settings(Ciphers=["aes128-cbc"]), rolled_back=True
    ),
    Trial(
        "sshd", "a key exchange that the controller lacks", ROLLED_BACK,
        settings(KexAlgorithms=["diffie-hellman-group1-sha1"]), rolled_back=True,
    ),
    Trial(
        "sshd", "a host key that the controller doesn't know", ROLLED_BACK, {"sshd_host_key_types": ["ed25519"]},
        rolled_back=True,
        prepare="mv /etc/ssh/ssh_host_ed25519_key /root/kept; mv /etc/ssh/ssh_host_ed25519_key.pub /root/kept.pub",
        undo="mv /root/kept /etc/ssh/ssh_host_ed25519_key; mv /root/kept.pub /etc/ssh/ssh_host_ed25519_key.pub",
    ),
    Trial("sshd", "a forced command", ROLLED_BACK, settings(ForceCommand="/bin/false"), rolled_back=True),
    Trial("sshd", "a folder to be shut in that isn't there", ROLLED_BACK, settings(ChrootDirectory="/nowhere"),
          rolled_back=True),
    Trial(
        "sshd", "AllowUsers from elsewhere", ROLLED_BACK,
        {**settings(AllowUsers=["operator@192.0.2.1"]), "sshd_locked_out_accounts": ["root"]}, rolled_back=True,
    ),
    Trial(
        "sshd", "keys of another account, under an umask that closes all", ROLLED_BACK, key_of_account(SOMEBODY),
        rolled_back=True, prepare="echo Defaults umask=0077, umask_override >/etc/sudoers.d/umask",
        undo="rm /etc/sudoers.d/umask",
    ),
    Trial(
        "sshd", "keys of another account, over connections that aren't shared, without pipelining", ROLLED_BACK,
        key_of_account(SOMEBODY), rolled_back=True, connection=ALONE,
    ),
    Trial("sshd", "no sessions", ROLLED_BACK, settings(MaxSessions=0), rolled_back=True),
    Trial(
        "sshd", "an address that the controller doesn't use", ROLLED_BACK, {"sshd_listen_addresses": ["127.0.0.1"]},
        rolled_back=True,
    ),
]  # fmt: skip


def ssh(**changes: Any) -> dict[str, Any]:
    networks = [f"{ADMIN}.0/24", "fd77:{{ lab_slot }}:3::/64"]
    return {"ports": [22], "protocol": "tcp", "sources": networks, **changes}


def rules(*given: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"firewall_rules": list(given), **{f"firewall_{name}": value for name, value in others.items()}}


CONTROLLER = r"would shut out the controller \(10\.\d+\.3\.1\) on SSH's port 22, "
BY_DEFAULT = CONTROLLER + r"by the default \(deny incoming\), since no rule fits; nothing was changed"
WEB = {"ports": [443], "protocol": "tcp"}
NEW_SSH = "-A ufw-before-input -p tcp --dport 22 -m conntrack --ctstate NEW -j DROP"


def jump(lab_ssh: str = "{{ lab_folder }}/ssh") -> str:
    """Options of ssh for the way over the other gateway."""
    other = "{{ hostvars[{'gw1': 'gw2', 'gw2': 'gw1'}[inventory_hostname]].ansible_host }}"
    known = f"-o UserKnownHostsFile={lab_ssh}/known_hosts -o StrictHostKeyChecking=yes"
    return f"{known} -o ProxyCommand='ssh -F none -i {lab_ssh}/id_ed25519 {known} -W %h:%p operator@{other}'"


FIREWALL = [
    Trial("firewall", "no rules", BY_DEFAULT, rules()),
    Trial("firewall", "default deny without SSH", BY_DEFAULT, rules(WEB)),
    Trial(
        "firewall", "default reject without SSH", r"by the default \(reject incoming\)",
        rules(WEB, default_incoming="reject"),
    ),
    Trial("firewall", "another port than SSH's", BY_DEFAULT, rules(ssh(ports=[2222]))),
    Trial("firewall", "another protocol than SSH's", BY_DEFAULT, rules(ssh(protocol="udp"))),
    Trial("firewall", "somebody else's network", BY_DEFAULT, rules(ssh(sources=["198.51.100.0/24"]))),
    Trial("firewall", "the other family", BY_DEFAULT, rules(ssh(sources=["::/0"]))),
    Trial(
        "firewall", "an address that is another host's", BY_DEFAULT,
        rules(ssh(sources=[], destinations=["198.51.100.1"])),
    ),
    Trial("firewall", "an interface that Ansible doesn't come by", BY_DEFAULT, rules(ssh(interface="outside"))),
    Trial("firewall", "the source port instead", BY_DEFAULT, rules(ssh(ports=[], source_ports=[22]))),
    Trial("firewall", "outgoing instead of incoming", BY_DEFAULT, rules(ssh(direction="out"))),
    Trial("firewall", "routed instead of incoming", BY_DEFAULT, rules(ssh(direction="routed"))),
    Trial(
        "firewall", "a deny before the allow", CONTROLLER + r"by 'ufw deny from 10\.0\.0\.0/8",
        rules({"action": "deny", "sources": ["10.0.0.0/8"]}, ssh()),
    ),
    Trial(
        "firewall", "a range of ports rejected before the allow", CONTROLLER + "by 'ufw reject 1:1024/tcp",
        rules({"action": "reject", "ports": ["1:1024"], "protocol": "tcp"}, ssh()),
    ),
    Trial(
        "firewall", "a limit, which Ansible's logons would hit", "would hold back the controller",
        rules(ssh(action="limit")),
    ),
    Trial(
        "firewall", "a network with bits behind its prefix", r"write 10\.\d+\.3\.0/24 for the network",
        rules(ssh(sources=[f"{ADMIN}.1/24"])),
    ),
    Trial(
        "firewall", "a controller on IPv6, and rules for IPv4", r"would shut out the controller \(fd77:\d+:3::1\)",
        rules(ssh(sources=["0.0.0.0/0"])),
        connection={"ansible_host": "fd77:{{ lab_slot }}:3::{{ {'gw1': 11, 'gw2': 12}[inventory_hostname] }}"},
    ),
    Trial(
        "firewall", "a jump host, and a rule for the controller's own address",
        r"would shut out the controller \(10\.\d+\.3\.1[12]\)", rules(ssh(sources=[f"{ADMIN}.1"])),
        connection={"ansible_ssh_common_args": jump(), "ansible_control_path": "none"},
    ),
    Trial(
        "firewall", "exact mode, and SSH opened by hand alone", BY_DEFAULT, rules(WEB, exact=True),
        prepare=f"ufw prepend allow from 10.0.0.0/8 to any port 22 proto tcp >/dev/null; {STATE}",
        undo="ufw delete allow from 10.0.0.0/8 to any port 22 proto tcp >/dev/null",
    ),
    Trial(
        "firewall", "a deny by hand before the role's rules", CONTROLLER + r"by 'ufw deny from 10\.0\.0\.0/8",
        rules(ssh(), WEB),
        # Disabled, as it must be for Ansible to come here at all.
        prepare="ufw --force disable >/dev/null; ufw prepend deny from 10.0.0.0/8 >/dev/null",
        undo="ufw delete deny from 10.0.0.0/8 >/dev/null; ufw --force enable >/dev/null",
    ),
    Trial(
        "firewall", "a line in before.rules that iptables doesn't take", "ufw can't start with its files on this host",
        rules(ssh()),
        **edited("/etc/ufw/before.rules", r'sed -i "s/^COMMIT/-A ufw-before-input -p nonsense -j ACCEPT\nCOMMIT/" $1'),
    ),
    Trial(
        "firewall", "the same in before6.rules", "ufw can't start with its files on this host", rules(ssh()),
        **edited("/etc/ufw/before6.rules", r'sed -i "s/^COMMIT/-A ufw6-before-input -p nonsense -j DROP\nCOMMIT/" $1'),
    ),
    Trial(
        "firewall", "before.rules that is cut off", "ufw can't start with its files on this host", rules(ssh()),
        **edited("/etc/ufw/before.rules", "truncate --size=900 $1"),
    ),
    Trial(
        "firewall", "user.rules with a line that ufw can't read", "isn't a rule that ufw can read", rules(ssh()),
        **edited("/etc/ufw/user.rules", 'sed -i "0,/^### tuple ###/s//### tuple ### permit/" $1'),
    ),
    Trial(
        "firewall", "user.rules that is cut off", "user.rules is cut off", rules(ssh()),
        **edited("/etc/ufw/user.rules", "truncate --size=400 $1"),
    ),
    Trial(
        "firewall", "user6.rules that is gone", "user6.rules can't be read .No such file or directory.", rules(ssh()),
        **edited("/etc/ufw/user6.rules", "rm $1"),
    ),
    Trial(
        "firewall", "a full disk", "ufw's files can't be written .No space left on device.; nothing was changed",
        rules(ssh()),
        prepare="cp -a /etc/ufw /run/kept && mount -t tmpfs -o size=200k tmpfs /etc/ufw && cp -a /run/kept/. /etc/ufw/ "
        "&& dd if=/dev/zero of=/etc/ufw/filler bs=4k 2>/dev/null; test -e /etc/ufw/filler",
        undo="umount /etc/ufw; rm -r /run/kept",
    ),
    # From here on nobody can know beforehand.
    Trial(
        "firewall", "before.rules that drop new SSH connections", ROLLED_BACK, rules(ssh()), rolled_back=True,
        **until_next_start(
            edited("/etc/ufw/before.rules", rf'sed -i "0,/^-A ufw-before-input/s//{NEW_SSH}\n&/" $1')
        ),
    ),
    Trial(
        "firewall", "before.rules that drop what goes out", ROLLED_BACK, rules(ssh()), rolled_back=True,
        **edited(
            "/etc/ufw/before.rules",
            r'sed -i "0,/^-A ufw-before-output/s//-A ufw-before-output -p tcp --sport 22 -m tcp --tcp-flags SYN SYN '
            r'-j DROP\n&/" $1',
        ),
    ),
]  # fmt: skip

BOTH = [
    Trial(
        "sshd", "SSH moved to a port that the firewall closes", ROLLED_BACK, {"sshd_ports": [2222]}, rolled_back=True
    ),
    Trial(
        "sshd", "the same over connections that aren't shared, without pipelining", ROLLED_BACK, {"sshd_ports": [2222]},
        rolled_back=True, connection=ALONE,
    ),
    Trial("firewall", "the firewall opened for the port that SSH shall have later", BY_DEFAULT,
          rules(ssh(ports=["2222"]))),
]  # fmt: skip

TRIALS = [*SSHD, *FIREWALL, *BOTH]


#: How many of the quickest, by the page's times, the scenarios try.
QUICKEST = 10
#: What they try besides, since none of the quickest need be like it.
KEPT = {
    "sshd": {
        "AllowUsers without the account",
        "a Match block that turns keys off",
        "a listen address that isn't there",
        "a drop-in that sorts before the role's",
        "a full disk",
        "keys of another account",
    },
    "firewall": {
        "default deny without SSH",
        "a controller on IPv6, and rules for IPv4",
        "a jump host, and a rule for the controller's own address",
        "a line in before.rules that iptables doesn't take",
        "a full disk",
        "before.rules that drop new SSH connections",
    },
}


def measured(page: str) -> dict[tuple[str, str], float]:
    """Return the seconds that each trial took, by role and name, as the page tells them."""
    found: dict[tuple[str, str], float] = {}
    for part in page.split("\n## ")[1:]:
        role = next(role for role, heading in HEADINGS.items() if part.startswith(f"{heading}\n"))
        rows = re.findall(r"^\| (.+?) \| [^|]+ \| ([\d.]+) \|", part, re.MULTILINE)
        found |= {(role, name): float(seconds) for name, seconds in rows}
    return found


def often(role: str) -> list[Trial]:
    """Return the trials that the role's scenario has time for: its part of the quickest of all, and what is kept."""
    times = measured(PAGE.read_text(encoding="utf-8"))
    by_time = sorted([*SSHD, *FIREWALL], key=lambda trial: times[trial.role, trial.name])
    return [
        trial
        for trial in (*SSHD, *FIREWALL)
        if trial.role == role and (trial in by_time[:QUICKEST] or trial.name in KEPT[role])
    ]


def _variables(role: str) -> dict[str, Any]:
    """What the role has in its scenario."""
    defaults: dict[str, Any] = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    scenario: dict[str, Any] = yaml.safe_load((ROOT / "molecule" / role / "converge.yml").read_text())[0]["vars"]
    return defaults | scenario


def _task(role: str) -> dict[str, Any]:
    """The role's own task. Its other tasks say nothing here, and each costs half a second."""
    tasks: list[dict[str, Any]] = yaml.safe_load((ROOT / "roles" / role / "tasks" / "main.yml").read_text())
    arguments: dict[str, Any] = next(task[MODULES[role]] for task in tasks if MODULES[role] in task)
    return {MODULES[role]: arguments}


def play_of(lab: Lab, trials: list[Trial]) -> list[dict[str, Any]]:
    """A play that tries these one after the other on both gateways, and has what became of each written down."""
    tasks: list[dict[str, Any]] = []
    seconds = {"sshd_rollback_seconds": SECONDS, "firewall_confirmation_seconds": SECONDS}
    logon = {host: [*ssh_command(lab, host), "-o", "BatchMode=yes", "sudo", "-n", "true"] for host in GATEWAYS}
    for number, trial in enumerate(trials):
        tasks += [
            {
                "name": "Before",
                "ansible.builtin.shell": {"cmd": f"{trial.prepare or 'true'}\n{STATE}"},
                "register": "before",
            },
            {
                "name": trial.name,
                **_task(trial.role),
                "vars": {**seconds, **trial.variables, **trial.connection},
                "register": "tried",
                "failed_when": False,
            },
            {"name": "After", "ansible.builtin.shell": {"cmd": f"{STATE}\n{trial.undo}"}, "register": "after"},
            {
                "name": "A fresh logon",
                "ansible.builtin.command": {
                    "argv": [
                        sys.executable, str(RECORD), f"{{{{ results }}}}/{number}-{{{{ inventory_hostname }}}}.json",
                        "{{ logon[inventory_hostname] | to_json }}",
                    ],
                    "stdin": "{{ {'tried': tried, 'before': before.stdout_lines, 'after': after.stdout_lines, "
                    "'began': before.start} | to_json }}",
                },
                "vars": {"logon": logon, "ansible_connection": "local"},
                "delegate_to": "localhost",
                "become": False,
            },
        ]  # fmt: skip
    roles = {trial.role for trial in trials}
    variables = {name: value for role in sorted(roles) for name, value in _variables(role).items()}
    return [
        {
            "name": "Trials", "hosts": "gateways", "gather_facts": False, "become": True,
            "vars": variables, "tasks": tasks,
        }
    ]  # fmt: skip


def carried_out(lab: Lab, trials: list[Trial], folder: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Try these; return what became of each by role, name and gateway: as ``record.py`` wrote it."""
    playbook = folder / "trials.yml"
    playbook.write_text(json.dumps(play_of(lab, trials)))
    run = play(playbook, variables={"results": str(folder)}, limit=3000)
    assert run.status == 0, run.output
    return {
        (trial.role, trial.name, gateway): json.loads((folder / f"{number}-{gateway}.json").read_text())
        for number, trial in enumerate(trials)
        for gateway in GATEWAYS
    }


def ended_well(trial: Trial, result: dict[str, Any]) -> None:
    """Assert that the sentence was said, that a fresh logon worked, and that the host was as before."""
    assert re.search(trial.sentence, result["said"]), result["said"]
    assert "Traceback" not in result["said"]
    assert result["said"].endswith(".")
    assert result["logon"] == "0", result["logon"]
    assert result["difference"] == []
