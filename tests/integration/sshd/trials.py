"""Ways to lock oneself out by the role's variables, or by what is on the host: data, and a play that tries them.

Each trial goes by itself: something is done to the host (``prepare``), the role runs with ``variables``, it must fail
with ``sentence``, a fresh logon must work afterwards, and the host must be as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from logons import _STATE, ssh_command

from lab import Lab

SECONDS = 8
SOMEBODY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBTn2SAx0jyz1rWkD1S6c6FoSqCS4bp1pIYRv5nP3rbb somebody@example.test"
ROLLED_BACK = "was not confirmed, .* The host went back to what it was at .* and can be reached as before"


@dataclass(frozen=True)
class Trial:
    """One way. ``prepare`` and ``undo`` are shell commands on the host."""

    name: str
    sentence: str
    variables: dict[str, Any] = field(default_factory=dict)
    rolled_back: bool = False
    prepare: str = ""
    undo: str = ""


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


TRIALS = [
    Trial(
        "AllowUsers without the account", "since AllowUsers .somebody. leaves it out", settings(AllowUsers=["somebody"])
    ),
    Trial("AllowGroups without its group", "since AllowGroups .wheel. leaves it out", settings(AllowGroups="wheel")),
    Trial("DenyUsers with the account", "since DenyUsers .operator. names it", settings(DenyUsers="operator")),
    Trial("DenyGroups with its group", "since DenyGroups .oper.. names it", settings(DenyGroups="oper*")),
    Trial(
        "a Match block that turns keys off",
        "since PubkeyAuthentication is off for it in a Match block",
        match("User operator", PubkeyAuthentication=False),
    ),
    Trial("an empty key list", "it would have no key left; give one", key_of_account()),
    Trial("a key that is none", "key 1 of 'operator' is not a public key", key_of_account("ssh-ed25519 AAAA nonsense")),
    Trial(
        "keys for an account that isn't there",
        "there is no account 'nobody-here' on this host",
        {"sshd_authorized_keys": [{"user": "nobody-here", "keys": [SOMEBODY]}]},
    ),
    Trial(
        "a listen address that isn't there",
        "192.0.2.99 is not an address of this host",
        {"sshd_listen_addresses": ["192.0.2.99"]},
    ),
    Trial(
        "a port that is taken",
        "port 8099 is taken by python3 on this host",
        {"sshd_ports": [8099]},
        prepare="systemd-run --quiet --unit=taken /usr/bin/python3 -m http.server 8099; "
        "until ss -Hltn | grep -q :8099; do sleep 0.1; done",
        undo="systemctl stop taken",
    ),
    Trial("an algorithm that doesn't exist", "sshd refuses the new configuration: .*", settings(Ciphers=["rot13"])),
    Trial("a setting that doesn't exist", "sshd refuses the new configuration: .*", settings(LetEverybodyIn=True)),
    Trial(
        "passwords turned on",
        "sshd_settings.PasswordAuthentication can't be set here",
        settings(PasswordAuthentication=True),
    ),
    Trial(
        "a Match block that turns passwords on",
        "can't be set here",
        match("User anna", PasswordAuthentication=True),
    ),
    Trial(
        "a drop-in that sorts before ours",
        r"/etc/ssh/sshd_config.d/00-cloud.conf line 2 \('PasswordAuthentication yes'\) wins over this role",
        **file("/etc/ssh/sshd_config.d/00-cloud.conf", "# cloud", "PasswordAuthentication yes"),
    ),
    Trial(
        "somebody's Match block for the account",
        r"/etc/ssh/sshd_config.d/60-x.conf line 2 \('PasswordAuthentication yes', in the block .Match User operator.\) "
        "wins",
        **file("/etc/ssh/sshd_config.d/60-x.conf", "Match User operator", "PasswordAuthentication yes"),
    ),
    Trial(
        "somebody's Match block for somebody",
        r"/etc/ssh/sshd_config.d/60-x.conf line 2 \(.PasswordAuthentication yes.* lets somebody log on without a key",
        **file("/etc/ssh/sshd_config.d/60-x.conf", "Match User anna", "PasswordAuthentication yes"),
    ),
    Trial(
        "no Include in the main file",
        "doesn't include /etc/ssh/sshd_config.d",
        prepare="cp -p /etc/ssh/sshd_config /root/main; sed -i 's/^Include/#Include/' /etc/ssh/sshd_config",
        undo="mv /root/main /etc/ssh/sshd_config",
    ),
    Trial(
        "a full disk",
        "The way back can't be written below /var/lib/postern/rollback .No space left on device.; nothing was changed",
        settings(MaxAuthTries=5),
        prepare="mkdir -p /var/lib/postern && mount -t tmpfs -o size=8k tmpfs /var/lib/postern && "
        "mkdir /var/lib/postern/rollback && head -c 8192 /dev/zero >/var/lib/postern/full; true",
        undo="umount /var/lib/postern",
    ),
    Trial(
        "a password beside the key",
        "sshd refuses the new configuration: AuthenticationMethods cannot be satisfied",
        settings(AuthenticationMethods="publickey,password"),
    ),
    # From here on nobody can know beforehand.
    Trial("keys of another account", ROLLED_BACK, key_of_account(SOMEBODY), rolled_back=True),
    Trial("a cipher that the controller hasn't", ROLLED_BACK, settings(Ciphers=["aes128-cbc"]), rolled_back=True),
    Trial(
        "a kind of key that the controller's isn't",
        ROLLED_BACK,
        settings(PubkeyAcceptedAlgorithms=["rsa-sha2-512"]),
        rolled_back=True,
    ),
    Trial("a forced command", ROLLED_BACK, settings(ForceCommand="/bin/false"), rolled_back=True),
    Trial("AllowUsers from elsewhere", ROLLED_BACK, settings(AllowUsers=["operator@192.0.2.1"]), rolled_back=True),
    Trial("no sessions", ROLLED_BACK, settings(MaxSessions=0), rolled_back=True),
    Trial(
        "an address that the controller doesn't use",
        ROLLED_BACK,
        {"sshd_listen_addresses": ["127.0.0.1"]},
        rolled_back=True,
    ),
]
#: Of those that are undone by the host, the ones that `make test` has time for.
QUICK = ("keys of another account", "an address that the controller doesn't use", "a forced command")


def play_of(lab: Lab, trials: list[Trial]) -> list[dict[str, Any]]:
    """A play that tries these one after the other on both gateways, and writes what became of each into a file.

    The role's module is called as the role calls it, but without the role's other tasks, which say nothing here.
    """
    tasks: list[dict[str, Any]] = []
    logon = {host: [*ssh_command(lab, host), "-o", "BatchMode=yes", "true"] for host in ("gw1", "gw2")}
    local = {"delegate_to": "localhost", "become": False}
    for number, trial in enumerate(trials):
        arguments = {name.removeprefix("sshd_"): value for name, value in trial.variables.items()}
        tasks += [
            {
                "name": "Before",
                "ansible.builtin.shell": {"cmd": f"{trial.prepare or 'true'}\n{_STATE}"},
                "register": "before",
            },
            {
                "name": trial.name,
                "postern.mail_gateway.sshd_configuration": {**arguments, "rollback_seconds": SECONDS},
                "register": "tried",
                "failed_when": False,
            },
            {"name": "After", "ansible.builtin.shell": {"cmd": f"{_STATE}\n{trial.undo}"}, "register": "after"},
            {
                "name": "A fresh logon",
                "ansible.builtin.command": {"argv": "{{ logon[inventory_hostname] }}"},
                "vars": {"logon": logon, "ansible_connection": "local"},
                "register": "logon_result",
                "failed_when": False,
                # OpenSSH 9.8 and later make a client wait after refused logons.
                "retries": 20,
                "delay": 1,
                "until": "logon_result.rc == 0",
                **local,
            },
            {
                "name": "Result",
                "ansible.builtin.copy": {
                    "dest": f"{{{{ results }}}}/{number}-{{{{ inventory_hostname }}}}.json",
                    "content": "{{ result | to_json }}",
                    "mode": "0600",
                },
                "vars": {
                    "ansible_connection": "local",
                    "result": {
                        "said": "{{ tried.msg | default('it went through') }}",
                        "logon": "{{ logon_result.rc }} {{ logon_result.stderr }}",
                        "difference": "{{ before.stdout_lines | symmetric_difference(after.stdout_lines) }}",
                    },
                },
                **local,
            },
        ]
    return [{"name": "Trials", "hosts": "gateways", "gather_facts": False, "become": True, "tasks": tasks}]
