"""Who renews, when and why; what peers hand over; what certbot says, in one sentence."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from certificate_host import NAMES, Authority, Changed, Host
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.certificates import (
    certbot,
    handover,
    health,
    provision,
    reachability,
    renewal,
    settings,
    turns,
    x509,
)
from ansible_collections.postern.mail_gateway.plugins.module_utils.host.errors import HostError

DAY = 86400.0
GATEWAYS = ("gw1", "gw2", "gw3", "gw4", "gw5")


def gateway(host: str = "gw1", **more: Any) -> settings.Settings:
    return settings.Settings(
        host=host,
        certificates=(settings.Wanted("mail", NAMES),),
        authority="https://acme.example.test/dir",
        gateways=GATEWAYS,
        **more,
    )


def bundle(lifetime: float, *, names: tuple[str, ...] = NAMES, self_signed: bool = False, bits: int = 2048) -> Any:
    leaf = x509.Certificate(names, "1", "CN = x", self_signed, 0.0, lifetime, "rsa", bits, "f", "k")
    return x509.Bundle(b"", (b"",), leaf)


@given(st.floats(60, 400 * DAY), st.floats(0, 1.2))
def test_gateways_come_in_their_order_and_all_in_time(lifetime: float, at: float) -> None:
    """For any lifetime: whoever comes later in the order also comes later in time, and the last before the warning."""
    acting = [bool(turns.reason_to_take_over(gateway(host), bundle(lifetime), at * lifetime)) for host in GATEWAYS[:3]]
    assert acting == sorted(acting, reverse=True)
    left = 1 - at
    if left > turns.DUE + 0.001:
        assert not any(acting)
    if left < turns.LAST_TAKEOVER:
        assert all(bool(turns.reason_to_take_over(gateway(host), bundle(lifetime), at * lifetime)) for host in GATEWAYS)
    # The check warns only after the second gateway had its turn as well.
    if left < turns.WARNING:
        assert acting[1]


@pytest.mark.parametrize(("left", "due"), [(0.34, 0), (0.3, 1), (0.25, 2), (0.19, 3), (0.14, 5)])
def test_each_gateway_has_a_time_of_its_own(left: float, due: int) -> None:
    acting = [bool(turns.reason_to_take_over(gateway(host), bundle(DAY), (1 - left) * DAY)) for host in GATEWAYS]
    assert acting == [True] * due + [False] * (len(GATEWAYS) - due)


@given(st.floats(0, 40 * 3600))
def test_a_self_signed_one_waits_for_the_first_gateway(age: float) -> None:
    acting = [
        bool(turns.reason_to_take_over(gateway(host), bundle(DAY * 365, self_signed=True), age)) for host in GATEWAYS
    ]
    assert acting == [age > rank * turns.BOOTSTRAP_PATIENCE for rank in range(len(GATEWAYS))]


@pytest.mark.parametrize(
    ("current", "authority", "reason"),
    [
        (None, "", "there is none"),
        (bundle(DAY, self_signed=True), "", "there is only a self-signed one"),
        (bundle(DAY, names=NAMES[:1]), "", "it is for mail.example.test"),
        (
            bundle(DAY, names=(*NAMES, "old.example.test")),
            "",
            "it is for autodiscover.example.test, mail.example.test, old",
        ),
        (bundle(DAY), "https://other.example.test/dir", "it is from https://other.example.test/dir"),
        (bundle(DAY, bits=4096), "", "its key has 4096 bits"),
        (bundle(DAY), "", ""),
        (bundle(DAY), "https://acme.example.test/dir", ""),
    ],
)
def test_why_a_certificate_is_issued(current: Any, authority: str, reason: str) -> None:
    state = settings.State("mail", authority=authority)
    found = turns.reason_to_issue(gateway(), *gateway().certificates, current, state, at=0)
    assert found.startswith(reason)
    assert bool(found) == bool(reason)
    # Nobody but the first asks for it: the others get it.
    assert turns.reason_to_issue(gateway("gw2"), *gateway().certificates, current, state, at=0) == ""


@pytest.mark.parametrize("name", ["gw1", "gw2"])
def test_who_asks_for_it_here_gets_it_here(changed: Changed, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """``renew --now`` on any gateway, as when the first one is gone for good."""
    asked: list[str] = []
    monkeypatch.setattr(renewal.Renewal, "issue", lambda _self, certificate: asked.append(certificate))
    renewal.Renewal(changed(host=name).settings).renew(now_all=True)
    assert asked == ["mail"]


def test_nothing_secret_is_on_certbots_command_line() -> None:
    command = certbot.certbot_command(
        gateway(certbot_options="/etc/letsencrypt/postern.ini", contact="a@b.test"), gateway().certificates[0]
    )
    assert command[command.index("--config") + 1] == "/etc/letsencrypt/postern.ini"
    assert command.count("--domain") == len(NAMES)
    assert command[command.index("--key-type") + 1 : command.index("--key-type") + 2] == ["rsa"]
    assert not [word for word in command if "hmac" in word or "eab" in word]


SAID = [
    (
        (
            "An unexpected error occurred:\nError: urn:ietf:params:acme:error:rateLimited :: There were too many "
            "requests of a given type :: too many certificates (5) already issued for this exact set of "
            "identifiers in the "
            "last 168h0m0s, retry after 2031-01-02 03:04:05 UTC: see "
            "https://letsencrypt.org/docs/rate-limits/\nAsk for help"
        ),
        (
            "https://acme.example.test/dir limits how often it is asked; nothing is asked again before 2031-01-02 "
            "03:04:05 UTC."
        ),
    ),
    (
        (
            "Certbot failed to authenticate some domains (authenticator: standalone). The Certificate Authority "
            "reported:\n"
            "  Domain: mail.example.test\n  Type:   connection\n  Detail: 10.0.0.1: Fetching "
            "http://mail.example.test/: Timeout\n\n"
            "Hint: The CA failed to download the challenge files.\n\nSome challenges have failed.\nAsk for help"
        ),
        (
            "https://acme.example.test/dir could not validate mail.example.test (connection): 10.0.0.1: Fetching "
            "http://mail.example.test/: Timeout."
        ),
    ),
    (
        (
            "An unexpected error occurred:\nrequests.exceptions.ConnectionError: HTTPSConnectionPool(host='acme', "
            "port=443): "
            "Max retries exceeded with url: /dir\nAsk for help"
        ),
        "https://acme.example.test/dir can't be reached; the next run of certbot's timer tries again.",
    ),
    (
        (
            "An unexpected error occurred:\nError: urn:ietf:params:acme:error:invalidContact :: contact email "
            "required\nAsk"
        ),
        "https://acme.example.test/dir wants a contact for its account; give letsencrypt_contact.",
    ),
    (
        (
            "An unexpected error occurred:\nError: urn:ietf:params:acme:error:badNonce :: JWS has an invalid "
            "anti-replay\n"
            "Ask for help or search for solutions"
        ),
        "https://acme.example.test/dir answers 'badNonce': JWS has an invalid anti-replay.",
    ),
    (
        (
            "Saving debug log to /var/log/letsencrypt/letsencrypt.log\nUnable to register an account with ACME server. "
            "Error returned by the ACME server: JWS has an invalid anti-replay nonce: z3Rr\nAsk for help or search"
        ),
        "https://acme.example.test/dir answers: JWS has an invalid anti-replay nonce: z3Rr.",
    ),
    (
        "Saving debug log to /var/log\nThe moon is in the way.\nAsk for help at",
        "certbot failed: The moon is in the way; see",
    ),
    ("", "certbot failed: without a word; see /var/log/letsencrypt/letsencrypt.log."),
]


@pytest.mark.parametrize(("output", "sentence"), SAID)
def test_what_certbot_says_is_one_sentence(output: str, sentence: str) -> None:
    found = certbot.certbot_failure(output, gateway())
    assert str(found).startswith(sentence)
    assert str(found).endswith(".")
    assert isinstance(found, certbot.Held) == ("rateLimited" in output)


def test_a_renewal_that_brings_nothing_new_has_failed(
    host: Host, pems: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with 'dry-run' in somebody's /etc/letsencrypt/cli.ini: certbot ends well."""
    host.lineage(pems["first"])
    done = subprocess.CompletedProcess([], 0, "The dry run was successful.", "")
    for name, result in (("run", done), ("directory", {}), ("wants_account", None), ("self_test", None)):
        monkeypatch.setattr(renewal, name, lambda *_arguments, result=result, **_options: result)
    with pytest.raises(HostError, match="the certificate 'mail' is the one of before"):
        renewal.Renewal(host.settings).issue("mail")


def test_an_authority_that_wants_peace_gets_it(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """No retry storm: neither a run nor the timer asks again before the time."""
    asked = []
    until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(time.time() + 7200))
    output = f"Error: urn:ietf:params:acme:error:rateLimited :: too many certificates, retry after {until}: see"

    def issue(self: renewal.Renewal, wanted: settings.Wanted) -> None:
        asked.append(wanted.name)
        raise certbot.certbot_failure(output, self.settings)

    monkeypatch.setattr(renewal.Renewal, "_issue", issue)
    manager = renewal.Renewal(host.settings)
    for _ in range(3):
        with pytest.raises(certbot.Held, match="limits how often it is asked"):
            manager.issue("mail")
    said = manager.renew()
    assert [sentence for sentence in said if "nothing is asked for 'mail' before" in sentence]
    assert asked == ["mail"]
    held = settings.read_state(host.settings, "mail").held_until
    assert 7000 < held - time.time() < 7400


@given(st.text(max_size=60))
def test_a_hold_is_never_for_ever(text: str) -> None:
    for sentence in (text, "before 9999-12-31 23:59:59 UTC.", "before 1970-01-01 00:00:00 UTC."):
        assert 1000.0 < certbot.hold_seconds(sentence, 1000.0) <= 1000.0 + 8 * DAY


def test_certbot_is_told_when_and_whose_turn_it_is(host: Host) -> None:
    path = Path(host.settings.lineages, "renewal", "mail.conf")
    text = "# renew_before_expiry = 30 days\nversion = 2.1.0\n\n# Options\n[renewalparams]\naccount = 1\nserver = https://a/\n"
    text += f"renew_hook = {certbot.HOOK}\n"
    path.write_text(text)
    for lifetime, minutes in ((90 * DAY, 43200), (6 * DAY, 2880), (120, 1)):
        leaf = bundle(lifetime).leaf
        certbot.schedule_renewal(host.settings, "mail", leaf, renews=False)
        assert path.read_text().splitlines().count("autorenew = False") == 1
        certbot.schedule_renewal(host.settings, "mail", leaf, renews=True)
        lines = path.read_text().splitlines()
        assert lines[0] == f"renew_before_expiry = {minutes} minutes"
        assert "\n".join(lines[1:]) + "\n" == text
    assert certbot.lineage_server(host.settings, "mail") == "https://a/"


# --- certbot's other users --------------------------------------------------------------------------------------------


FOREIGN = "version = 2.1.0\n[renewalparams]\naccount = 2\nserver = https://a/\npre_hook = systemctl stop haproxy\n"


def renewal_conf(host: Host, name: str, text: str) -> Path:
    path = Path(host.settings.lineages, "renewal", f"{name}.conf")
    path.write_text(text)
    return path


def test_a_lineage_of_somebody_elses_is_neither_used_nor_changed_nor_deleted(
    host: Host, pems: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = renewal_conf(host, "mail", FOREIGN)
    host.lineage(pems["first"])
    assert certbot.lineage(host.settings, "mail") is None
    certbot.schedule_renewal(host.settings, "mail", bundle(90 * DAY).leaf, renews=True)
    renewal.Renewal(host.settings).heal("mail")
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(provision, "run", lambda *arguments, **_: called.append(arguments))
    files = object.__new__(provision.Provision)
    files.settings = host.settings
    files._remove("mail")
    assert called == []
    assert path.read_text() == FOREIGN
    with pytest.raises(HostError, match=r"certbot has a certificate 'mail' on this host that isn't this role's \("):
        certbot.refuse_foreign(host.settings)


def test_what_0_1_0_had_issued_is_the_roles(host: Host) -> None:
    """Its mark is the hook that 0.1.0 gave already, so nothing has to be written for it."""
    renewal_conf(host, "mail", f"[renewalparams]\naccount = 1\nrenew_hook = {certbot.HOOK}\n")
    assert certbot.is_ours(host.settings, "mail")
    certbot.refuse_foreign(host.settings)


def accounts_at(host: Host, **made: str) -> None:
    server = host.settings.authority.removeprefix("https://")
    for name, when in made.items():
        folder = Path(host.settings.lineages, "accounts", server, name)
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text(json.dumps({"creation_dt": when}))


def test_of_several_accounts_that_of_our_certificates_is_used(host: Host) -> None:
    """Without a choice certbot asks a person: "Choices: […]"."""
    accounts_at(host, a1="2026-02-01T00:00:00Z")
    assert certbot.account(host.settings) == ""
    accounts_at(host, a2="2026-01-01T00:00:00Z", a3="2026-03-01T00:00:00Z")
    assert certbot.account(host.settings) == "a2"
    server = host.settings.authority
    renewal_conf(host, "mail", f"[renewalparams]\naccount = a3\nserver = {server}\nrenew_hook = {certbot.HOOK}\n")
    assert certbot.account(host.settings) == "a3"
    command = certbot.certbot_command(host.settings, host.settings.certificates[0])
    assert command[command.index("--account") + 1] == "a3"


def test_our_renewal_runs_no_hooks_of_others_and_theirs_does(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    renewal_conf(host, "mail", f"[renewalparams]\nrenew_hook = {certbot.HOOK}\n")
    renewal_conf(host, "theirs", FOREIGN)
    called: dict[str, list[str]] = {}

    def runs(*arguments: str, **_: object) -> subprocess.CompletedProcess[str]:
        called[arguments[arguments.index("--cert-name") + 1]] = list(arguments)
        return subprocess.CompletedProcess(arguments, 0, "", "")

    monkeypatch.setattr(renewal, "run", runs)
    assert renewal.Renewal(host.settings)._certbot_renew() == []
    ours, theirs = called["mail"], called["theirs"]
    assert "--no-directory-hooks" in ours
    assert [ours[ours.index(hook) + 1] for hook in ("--pre-hook", "--post-hook", "--deploy-hook")] == [
        "", "", certbot.HOOK,
    ]  # fmt: skip
    assert not [word for word in theirs if "hook" in word]


# --- peers ----------------------------------------------------------------------------------------------------------


def receive(host: Host, content: bytes, name: str = "mail.pem") -> list[str]:
    Path(host.settings.drop, name).write_bytes(content)
    return handover.Handover(host.settings).receive()


def test_what_a_peer_hands_over_is_installed_and_gone(host: Host, pems: dict[str, bytes]) -> None:
    for name in ("first", "second"):
        pem = x509.bundle_from(pems[name]).pem
        assert receive(host, handover.handed(pem, "gw1", "https://acme.example.test/dir")) == []
        assert host.presents() == x509.bundle_from(pem).leaf.fingerprint
        assert os.listdir(host.settings.drop) == []  # noqa: PTH208
    state = settings.read_state(host.settings, "mail")
    assert (state.origin, state.authority) == ("handed over", "https://acme.example.test/dir")
    assert list(Path(host.settings.state, "handed").iterdir()) == []
    # One that is older, as if somebody played an upload again.
    (sentence,) = receive(host, handover.handed(x509.bundle_from(pems["first"]).pem, "gw1", ""))
    assert "and the one in use is newer" in sentence
    assert host.presents() == x509.bundle_from(pems["second"]).leaf.fingerprint
    assert list(Path(host.settings.state, "handed").iterdir()) == []


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_an_upload_that_isnt_whole_is_never_taken(cut: int, dirt: bytes) -> None:
    pem = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    good = handover.handed(pem, "gw1", "https://acme.example.test/dir")
    assert handover.whole(good)[0] == pem
    shorter = good[: cut % len(good)]
    for bad in (shorter, good + dirt, dirt + good):
        with pytest.raises(HostError, match="isn't whole"):
            handover.whole(bad)


def test_a_certificate_with_names_to_come_waits_for_them(changed: Changed, authority: Authority) -> None:
    """A peer knows of a new name before this host does: what it hands over isn't lost."""
    names = (*NAMES, "webmail.example.test")
    host = changed(certificates=[{"name": "mail", "names": [*names, "later.example.test"]}])
    pem = x509.bundle_from(authority.pem(names=names)).pem
    before = host.presents()
    (sentence,) = receive(host, handover.handed(pem, "gw1", ""))
    assert "lacks later.example.test" in sentence
    assert host.presents() == before
    host = changed(certificates=[{"name": "mail", "names": list(names)}])
    assert renewal.Renewal(host.settings).heal("mail")
    assert host.presents() == x509.bundle_from(pem).leaf.fingerprint


def test_uploads_that_were_never_finished_go(host: Host) -> None:
    drop = Path(host.settings.drop)
    old, new = drop / ".mail.1.part", drop / ".mail.2.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * handover.STALE,) * 2)
    assert handover.Handover(host.settings).receive() == []
    assert [path.name for path in drop.iterdir()] == [".mail.2.part"]


def test_a_drop_folder_that_is_a_link_is_not_followed(host: Host, tmp_path: Path) -> None:
    (tmp_path / "mail.pem").write_text("mine")
    drop = Path(host.settings.drop)
    drop.rmdir()
    drop.symlink_to(tmp_path)
    assert handover.Handover(host.settings).receive() == []
    assert (tmp_path / "mail.pem").read_text() == "mine"


SFTP = """#!/bin/sh
cat >{folder}/batch
echo "$@" >{folder}/arguments
set -- $(cat {folder}/batch)
[ -e {folder}/broken ] && {{ echo "Connection closed" >&2; exit 255; }}
cp "$2" {folder}/uploaded
stat -c %a "$2" >{folder}/mode
"""


def test_a_certificate_is_handed_over_once_and_whole(changed: Changed, pems: dict[str, bytes]) -> None:
    host = changed(peers=[{"name": "gw2", "address": "192.0.2.9", "port": 2222}])
    program_file = host.folder / "bin" / "sftp"
    program_file.write_text(SFTP.format(folder=host.folder))
    program_file.chmod(0o755)
    host.lineage(pems["first"])
    manager = renewal.Renewal(host.settings)
    assert manager.handover.hand_over("mail") == []  # the self-signed one is nobody else's business
    manager.install("mail")
    (host.folder / "broken").touch()
    (sentence,) = manager.handover.hand_over("mail")
    assert sentence == "'mail' was not handed to gw2 (192.0.2.9): Connection closed."
    assert settings.read_state(host.settings, "mail").hand_over_errors == {"gw2": "Connection closed"}
    assert "gw2 doesn't have it: Connection closed" in host.run("--check").stdout
    (host.folder / "broken").unlink()
    assert manager.handover.hand_over("mail") == []
    pem, said = handover.whole((host.folder / "uploaded").read_bytes())
    assert pem == host.target.read_bytes()
    assert said["from"] == "gw1"
    assert (host.folder / "mode").read_text() == "600\n"
    # Uploaded under another name, and renamed when it is whole.
    put, rename = (host.folder / "batch").read_text().splitlines()
    part = put.split()[2]
    assert re.fullmatch(r"/files/\.mail\.[0-9a-f]{16}\.part", part)
    assert rename == f"rename {part} /files/mail.pem"
    arguments = (host.folder / "arguments").read_text()
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "HostKeyAlias=gw2", "-P 2222"):
        assert option in arguments
    (host.folder / "batch").unlink()
    assert manager.handover.hand_over("mail") == []
    assert not (host.folder / "batch").exists()
    assert list(Path(host.settings.locks).glob("postern-*/pem")) == []


# --- the authority --------------------------------------------------------------------------------------------------


def test_a_name_that_doesnt_resolve_is_told(host: Host) -> None:
    with pytest.raises(HostError, match=r"nowhere\.invalid doesn't resolve on this host"):
        reachability.self_test(host.settings, ["nowhere.invalid"])


@pytest.fixture
def website() -> Iterator[int]:
    """A web server that isn't a gateway; its port."""
    handler = type("Handler", (reachability._Answer,), {"expected": ("/elsewhere", "")})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_name_that_leads_elsewhere_is_told(host: Host, website: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "HTTP", website)
    with pytest.raises(HostError, match=r"localhost leads to 127.0.0.1, which isn't one of the gateways"):
        reachability.self_test(host.settings, ["localhost"])


def test_a_name_that_leads_here_is_good(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachability, "HTTP", host.settings.http_port)
    reachability.self_test(host.settings, ["localhost"])


def test_an_address_that_doesnt_answer_leaves_the_word_to_the_authority(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that is down, or a firewall that keeps a host from its own public address."""
    monkeypatch.setattr(reachability, "HTTP", 1)
    reachability.self_test(host.settings, ["localhost"])


def test_a_port_that_somebody_has_is_told(changed: Changed) -> None:
    host = changed()
    host = changed(http_port=host.settings.port)
    with pytest.raises(HostError, match="choose another one in letsencrypt_http_port and haproxy_acme_port"):
        reachability.self_test(host.settings, [])


def test_an_authority_that_nobody_is_at_is_told(changed: Changed) -> None:
    host = changed(authority="https://127.0.0.1:1/dir")
    with pytest.raises(HostError, match=r"can't be reached \(Connection refused\)"):
        reachability.directory(host.settings)


def test_an_account_that_the_authority_forgot_is_put_aside(changed: Changed) -> None:
    host = changed(authority="https://acme.example.test:14000/dir")
    account = Path(host.settings.lineages, "accounts", "acme.example.test:14000", "dir", "1234")
    account.mkdir(parents=True)
    assert certbot.forget_account(host.settings)
    assert not account.exists()
    assert not certbot.forget_account(host.settings)


def test_settings_survive_their_file(host: Host) -> None:
    assert settings.load(host.folder / "settings.json") == host.settings
    broken = host.folder / "broken.json"
    for text in ("", "{", "[]", json.dumps({"host": "gw1"}), json.dumps({"certificates": [], "nonsense": 1})):
        broken.write_text(text)
        with pytest.raises(HostError, match="run the role letsencrypt for this host"):
            settings.load(broken)


def test_what_lies_in_the_drop_folder_is_gone_whatever_it_is(host: Host, tmp_path: Path) -> None:
    drop = Path(host.settings.drop)
    (tmp_path / "kept").write_text("kept")
    (drop / "folder.pem" / "below").mkdir(parents=True)
    (drop / "folder.pem" / "link").symlink_to(tmp_path)
    (drop / "link.pem").symlink_to(tmp_path / "kept")
    os.mkfifo(drop / "fifo.pem")
    os.link(tmp_path / "kept", drop / "hard.pem")
    (drop / "large.pem").write_bytes(bytes(handover.LARGEST + 1))
    found = dict(handover.take(drop))
    assert found == {
        "folder": "it is not a plain file",
        "link": "it is a link or can't be opened",
        "fifo": "it is not a plain file",
        "hard": "it is not a plain file",
        "large": f"it has {handover.LARGEST + 1} bytes",
    }
    assert list(drop.iterdir()) == []
    assert (tmp_path / "kept").read_text() == "kept"


def test_there_are_no_metrics_of_no_certificates(changed: Changed) -> None:
    host = changed(certificates=[])
    health.write_metrics(host.settings)
    assert not Path(host.settings.metrics).exists()
    host = changed(certificates=[{"name": "mail", "names": list(NAMES)}])
    health.write_metrics(host.settings)
    assert Path(host.settings.metrics).exists()
