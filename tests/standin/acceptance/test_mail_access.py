"""IMAP and POP with real clients: Dovecot does what the state says."""

from __future__ import annotations

import base64
import contextlib
import imaplib
import json
import poplib
import smtplib
import socket
import uuid
from collections.abc import Iterator

import pytest
from standin_exchange import Exchange

ANNA = "anna@example.test"
SERVICES = {"imap": ("MSExchangeImap4", "MSExchangeIMAP4BE"), "pop": ("MSExchangePop3", "MSExchangePOP3BE")}
PORTS = {"imap": (143, 993), "pop": (110, 995)}


@contextlib.contextmanager
def imap(exchange: Exchange, tls: bool = True) -> Iterator[imaplib.IMAP4]:
    if tls:
        client: imaplib.IMAP4 = imaplib.IMAP4_SSL(exchange.address, ssl_context=exchange.trust, timeout=10)
    else:
        client = imaplib.IMAP4(exchange.address, timeout=10)
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, imaplib.IMAP4.error):
            client.logout()


@contextlib.contextmanager
def pop(exchange: Exchange, tls: bool = True) -> Iterator[poplib.POP3]:
    if tls:
        client: poplib.POP3 = poplib.POP3_SSL(exchange.address, context=exchange.trust, timeout=10)
    else:
        client = poplib.POP3(exchange.address, timeout=10)
    try:
        yield client
    finally:
        with contextlib.suppress(OSError, poplib.error_proto):
            client.quit()


def capabilities(exchange: Exchange, tls: bool = True) -> set[str]:
    with imap(exchange, tls) as client:
        return set(client.capability()[1][0].decode().split())


def listens(exchange: Exchange, port: int) -> bool:
    try:
        socket.create_connection((exchange.address, port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize("name", [ANNA, "anna", '"EXAMPLE\\\\anna"'])
def test_imap_logon(exchange: Exchange, name: str) -> None:
    with imap(exchange) as client:
        assert client.login(name, exchange.password)[0] == "OK"
        assert client.select("INBOX")[0] == "OK"
    with imap(exchange) as client, pytest.raises(imaplib.IMAP4.error):
        client.login(name, "wrong")


def test_imap_logon_after_starttls(exchange: Exchange) -> None:
    with imap(exchange, tls=False) as client:
        client.starttls(exchange.trust)
        assert client.login(ANNA, exchange.password)[0] == "OK"


def test_pop_logon(exchange: Exchange) -> None:
    with pop(exchange) as client:
        client.user(ANNA)
        assert client.pass_(exchange.password).startswith(b"+OK")
    with pop(exchange) as client:
        client.user(ANNA)
        with pytest.raises(poplib.error_proto):
            client.pass_("wrong")


def test_mail_that_smtp_took_is_there(exchange: Exchange) -> None:
    mark = uuid.uuid4().hex
    with smtplib.SMTP(exchange.address, timeout=10, local_hostname="client.example.test") as smtp:
        smtp.sendmail("x@out.test", [ANNA], f"Subject: {mark}\r\n\r\nbody\r\n.dot\r\n")
    with imap(exchange) as client:
        client.login(ANNA, exchange.password)
        client.select("INBOX")
        (number,) = client.search(None, "SUBJECT", mark)[1][0].split()
        text = client.fetch(number.decode(), "(BODY[])")[1][0][1]
    assert text.endswith(b"body\r\n.dot\r\n")
    with pop(exchange) as client:
        client.user(ANNA)
        client.pass_(exchange.password)
        subjects = [line for n in range(1, client.stat()[0] + 1) for line in client.top(n, 0)[1] if b"Subject" in line]
    assert f"Subject: {mark}".encode() in subjects


def test_banner(exchange: Exchange) -> None:
    with imap(exchange) as client:
        assert b"The Microsoft Exchange IMAP4 service is ready." in client.welcome
    with pop(exchange) as mail:
        assert mail.getwelcome() == b"+OK The Microsoft Exchange POP3 service is ready."
    exchange.set("ImapSettings.Banner", "Quiet please.")
    with imap(exchange) as client:
        assert client.welcome.endswith(b"Quiet please.")


def test_ntlm_is_offered_or_not(exchange: Exchange) -> None:
    assert "AUTH=NTLM" in capabilities(exchange)
    exchange.set("ImapSettings.EnableGSSAPIAndNTLMAuth", False)
    offered = capabilities(exchange)
    assert "AUTH=NTLM" not in offered
    assert "AUTH=PLAIN" in offered
    with pop(exchange) as client:
        assert "NTLM" in client.capa()["SASL"], "POP has a setting of its own"
    exchange.set("PopSettings.EnableGSSAPIAndNTLMAuth", False)
    with pop(exchange) as client:
        assert client.capa()["SASL"] == ["PLAIN", "LOGIN"]


def can_log_on_without_tls(exchange: Exchange) -> bool:
    with imap(exchange, tls=False) as client:
        try:
            return client.login(ANNA, exchange.password)[0] == "OK"
        except imaplib.IMAP4.error:
            return False


@pytest.mark.parametrize(
    ("login_type", "plain", "ntlm"),
    [("SecureLogin", False, False), ("PlainTextAuthentication", False, True), ("PlainTextLogin", True, True)],
)
def test_what_is_allowed_before_tls(exchange: Exchange, login_type: str, plain: bool, ntlm: bool) -> None:
    exchange.set("ImapSettings.LoginType", login_type)
    offered = capabilities(exchange, tls=False)
    assert "STARTTLS" in offered
    assert ("LOGINDISABLED" in offered) is not plain
    assert ("AUTH=NTLM" in offered) is ntlm
    assert can_log_on_without_tls(exchange) is plain
    assert "LOGINDISABLED" not in capabilities(exchange)


@pytest.mark.parametrize("protocol", ["imap", "pop"])
@pytest.mark.parametrize("part", [0, 1])
def test_both_services_are_needed(exchange: Exchange, protocol: str, part: int) -> None:
    other = {"imap": "pop", "pop": "imap"}[protocol]
    assert all(listens(exchange, port) for port in PORTS[protocol])
    exchange.set(f"Service[{SERVICES[protocol][part]}].Status", "Stopped")
    assert not any(listens(exchange, port) for port in PORTS[protocol])
    assert all(listens(exchange, port) for port in PORTS[other])
    exchange.set(f"Service[{SERVICES[protocol][part]}].Status", "Running")
    assert all(listens(exchange, port) for port in PORTS[protocol])


@pytest.mark.parametrize(("protocol", "component"), [("imap", "ImapProxy"), ("pop", "PopProxy")])
def test_inactive_component(exchange: Exchange, protocol: str, component: str) -> None:
    exchange.set(f"ServerComponentState[{component}].State", "Inactive")
    assert not any(listens(exchange, port) for port in PORTS[protocol])
    exchange.set(f"ServerComponentState[{component}].State", "Active")
    assert all(listens(exchange, port) for port in PORTS[protocol])


def test_change_spares_the_session_that_lives(exchange: Exchange) -> None:
    with imap(exchange) as client, imap(exchange, tls=False) as greeted:
        client.login(ANNA, exchange.password)
        client.select("INBOX")
        exchange.set("ImapSettings.EnableGSSAPIAndNTLMAuth", False)
        assert client.noop()[0] == "OK"
        assert greeted.noop()[0] == "OK"
        assert "AUTH=NTLM" not in capabilities(exchange)


def test_new_mailbox_and_new_password(exchange: Exchange) -> None:
    mailbox = {"PrimarySmtpAddress": "carla@example.test", "Password": "first"}
    exchange.command("set", "Mailbox[+]", "-", stdin=json.dumps(mailbox))
    for password in ("with:colon and space", "changed"):
        exchange.set("Mailbox[carla@example.test].Password", password)
        with imap(exchange) as client:
            assert client.login("carla@example.test", password)[0] == "OK"
            assert client.select("INBOX")[0] == "OK"


def test_plain_mechanism(exchange: Exchange) -> None:
    with imap(exchange) as client:
        blob = f"\0{ANNA}\0{exchange.password}".encode()
        assert client.authenticate("PLAIN", lambda _: blob)[0] == "OK"
    with pop(exchange) as mail:
        answer = mail._shortcmd("AUTH PLAIN " + base64.b64encode(blob).decode())
        assert answer.startswith(b"+OK")
