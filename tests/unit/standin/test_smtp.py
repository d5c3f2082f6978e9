from __future__ import annotations

import base64
import contextlib
import smtplib
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from standin_client import CONNECTORS, LONG, PASSWORDS, Dialogue, Standin, authenticate, negotiate

from standin.smtp import helo_name_is_valid, parse_path

ANNA = "anna@example.test"
MESSAGE = b"From: x@out.test\r\nSubject: hello\r\nMessage-ID: <1@out.test>\r\n\r\nbody\r\n"
RELAY_RIGHT = {
    "Identity": "EX1\\Default Frontend EX1",
    "User": "NT AUTHORITY\\ANONYMOUS LOGON",
    "ExtendedRights": ["Ms-Exch-SMTP-Accept-Any-Recipient"],
}
NO_RELAY = "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"
NO_ANONYMOUS = "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM"
Raw = Callable[..., Dialogue]


@pytest.fixture
def dial(standin: Standin) -> Iterator[Callable[..., smtplib.SMTP]]:
    """`dial(port)`: a client on the default connector of the port."""
    with contextlib.ExitStack() as clients:

        def connect(port: int = 25, source: str = "127.0.0.1") -> smtplib.SMTP:
            client = smtplib.SMTP(
                "127.0.0.1",
                standin.ports[port],
                local_hostname="client.out.test",
                timeout=LONG,
                source_address=(source, 0),
            )
            clients.callback(client.close)
            return client

        yield connect


def refusal(call: Callable[[], object]) -> str:
    """What the server said to a call that it refuses."""
    with pytest.raises(smtplib.SMTPException) as refused:
        call()
    error: Any = refused.value
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, text = next(iter(error.recipients.values()))
    else:
        code, text = error.smtp_code, error.smtp_error
    return f"{code} {text.decode()}"


# Greeting and EHLO


def test_default_banner(raw: Raw) -> None:
    words = raw().banner.split()
    assert " ".join(words[:9]) == "220 ex1.example.test Microsoft ESMTP MAIL Service ready at " + words[8]


def test_own_banner_and_name(standin: Standin, raw: Raw) -> None:
    standin.connector(25, Banner="220 gate keeps quiet", Fqdn="gate.example.test")
    dialogue = raw()
    assert dialogue.banner == "220 gate keeps quiet"
    assert dialogue.say("HELO client.out.test") == "250 gate.example.test Hello [127.0.0.1]"


def features(client: smtplib.SMTP) -> dict[str, str]:
    client.ehlo()
    return dict(client.esmtp_features)


def test_features_of_the_front_end(dial: Callable[..., smtplib.SMTP], trust: ssl.SSLContext) -> None:
    client = dial()
    found = features(client)
    assert found["size"] == "37748736"
    for name in ("pipelining", "dsn", "enhancedstatuscodes", "starttls", "8bitmime", "chunking", "smtputf8"):
        assert name in found
    assert found["auth"].split() == ["NTLM"]
    client.starttls(context=trust)
    found = features(client)
    assert "starttls" not in found
    assert found["auth"].split() == ["NTLM", "LOGIN"]


@pytest.mark.parametrize(
    ("properties", "gone"),
    [
        ({"SizeEnabled": "Disabled"}, "size"),
        ({"PipeliningEnabled": False}, "pipelining"),
        ({"DeliveryStatusNotificationEnabled": False}, "dsn"),
        ({"EnhancedStatusCodesEnabled": False}, "enhancedstatuscodes"),
        ({"AuthMechanism": "None"}, "starttls"),
        ({"AuthMechanism": "Tls"}, "auth"),
        ({"EightBitMimeEnabled": False}, "8bitmime"),
        ({"ChunkingEnabled": False}, "chunking"),
        ({"ChunkingEnabled": False}, "binarymime"),
        ({"BinaryMimeEnabled": False}, "binarymime"),
        ({"SmtpUtf8Enabled": False}, "smtputf8"),
    ],
)
def test_features_follow_the_connector(
    standin: Standin, dial: Callable[..., smtplib.SMTP], properties: dict[str, Any], gone: str
) -> None:
    assert gone in features(dial())
    standin.connector(25, **properties)
    assert gone not in features(dial())


def test_size_without_value_and_login_without_tls(standin: Standin, dial: Callable[..., smtplib.SMTP]) -> None:
    standin.connector(25, SizeEnabled="EnabledWithoutValue", AuthMechanism="Tls, BasicAuth")
    found = features(dial())
    assert found["size"] == ""
    assert found["auth"].split() == ["LOGIN"]


def test_status_codes_go_with_the_feature(standin: Standin, raw: Raw) -> None:
    standin.connector(25, EnhancedStatusCodesEnabled=False)
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    assert dialogue.say("NOOP") == "250 OK"


@pytest.mark.parametrize("verb", ["EHLO", "HELO", "ehlo"])
@pytest.mark.parametrize(
    "name", ["client.out.test.", "client.out.test ", "a b", "x..y", "-x.test", "[10.0.0.300]", "é"]
)
def test_bad_greeting_names(raw: Raw, verb: str, name: str) -> None:
    assert raw().say(f"{verb} {name}") == "501 5.5.4 Invalid domain name"


@pytest.mark.parametrize(
    "name", ["client.out.test", "CLIENT", "[10.0.0.3]", "[IPv6:fd77::1]", "under_score.test", "1.2"]
)
def test_good_greeting_names(name: str) -> None:
    assert helo_name_is_valid(name)


def test_greeting_without_a_name(standin: Standin, raw: Raw) -> None:
    assert raw().say("EHLO").startswith("250-")
    standin.connector(25, RequireEHLODomain=True)
    assert raw().say("EHLO") == "501 5.5.4 Invalid domain name"


# Mail


def test_mail_for_an_accepted_domain(standin: Standin, dial: Callable[..., smtplib.SMTP]) -> None:
    client = dial(source="127.0.0.9")
    assert client.sendmail("x@out.test", [ANNA, "nobody@example.test"], MESSAGE) == {}
    client.quit()
    event = standin.event("smtp_message")
    assert event["connector"] == "EX1\\Default Frontend EX1"
    assert event["source"] == "127.0.0.9"
    assert event["helo"] == "client.out.test"
    assert event["sender"] == "x@out.test"
    assert event["recipients"] == [ANNA, "nobody@example.test"]
    assert event["subject"] == "hello"
    assert event["size"] == len(MESSAGE)
    assert event["message_id"] == "<1@out.test>"
    assert event["tls"] is None
    assert event["delivered"] == [ANNA]
    session = standin.event("smtp_session", source="127.0.0.9")
    assert session["messages"] == 1
    assert session["last_answer"] == "221 2.0.0 Service closing transmission channel"


def test_accepted_mail_is_in_the_mailbox(standin: Standin, dial: Callable[..., smtplib.SMTP]) -> None:
    inbox = standin.directory / "mail" / ANNA / "Maildir" / "new"
    before = set(inbox.glob("*")) if inbox.is_dir() else set()
    dial().sendmail("x@out.test", [ANNA], MESSAGE + b"\r\n.dots\r\n..\r\n")
    (new,) = set(inbox.glob("*")) - before
    text = new.read_bytes()
    assert text.startswith(b"Received: from client.out.test (127.0.0.1) by ex1.example.test")
    assert text.endswith(MESSAGE + b"\r\n.dots\r\n..\r\n")


def test_answers_of_a_whole_dialogue(raw: Raw) -> None:
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    assert dialogue.say("MAIL FROM:<x@out.test>") == "250 2.1.0 Sender OK"
    assert dialogue.say(f"RCPT TO:<{ANNA}>") == "250 2.1.5 Recipient OK"
    assert dialogue.say("DATA") == "354 Start mail input; end with <CRLF>.<CRLF>"
    answer = dialogue.say(b".\r\n")
    assert answer.startswith("250 2.6.0 <")
    assert answer.endswith("Queued mail for delivery")
    assert "Hostname=ex1.example.test] 0 bytes" in answer
    assert dialogue.say("RSET") == "250 2.0.0 Resetting"
    assert dialogue.say("NOOP") == "250 2.0.0 OK"
    assert dialogue.say("VRFY anna") == "252 2.1.5 Cannot VRFY user"
    assert dialogue.say("HELP").startswith("214-")
    assert dialogue.say("QUIT") == "221 2.0.0 Service closing transmission channel"
    assert dialogue.answer() == ""


def test_pipelined_group(raw: Raw) -> None:
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    first = dialogue.say(f"MAIL FROM:<>\r\nRCPT TO:<{ANNA}>\r\nRCPT TO:<x@else.test>\r\nDATA\r\n".encode())
    assert first == "250 2.1.0 Sender OK"
    assert [dialogue.answer()[:3] for _ in range(3)] == ["250", "550", "354"]
    assert dialogue.say(b"Subject: x\r\n\r\n..\r\n.\r\nNOOP\r\n").startswith("250 2.6.0")
    assert dialogue.answer() == "250 2.0.0 OK"


def test_chunks(standin: Standin, raw: Raw) -> None:
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    dialogue.say("MAIL FROM:<x@out.test> BODY=BINARYMIME")
    dialogue.say(f"RCPT TO:<{ANNA}>")
    assert dialogue.say(b"BDAT 14\r\nSubject: x\r\n\r\n") == "250 2.6.0 CHUNK received OK, 14 octets"
    assert dialogue.say(b"BDAT 5 LAST\r\n\r\n.\r\n").startswith("250 2.6.0 <")
    assert standin.event("smtp_message")["size"] == 19
    # Chunks that nobody asked for are read, so that what follows them is a command again.
    assert dialogue.say(b"BDAT 6\r\nQUIT\r\n") == "503 5.5.2 Need mail command"
    assert dialogue.say("NOOP") == "250 2.0.0 OK"


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["MAIL FROM:<x@out.test>"], "503 5.5.2 Send hello first"),
        (["EHLO c", "RCPT TO:<anna@example.test>"], "503 5.5.2 Need mail command"),
        (["EHLO c", "DATA"], "503 5.5.2 Need mail command"),
        (["EHLO c", "MAIL FROM:<x@out.test>", "DATA"], "503 5.5.2 Need rcpt command"),
        (["EHLO c", "MAIL FROM:<x@out.test>", "MAIL FROM:<x@out.test>"], "503 5.5.2 Sender already specified"),
        (["EHLO c", "MAIL FROM:<x@out.test>", "RSET", "RCPT TO:<anna@example.test>"], "503 5.5.2 Need mail command"),
        (["EHLO c", "MAIL x@out.test"], "501 5.5.4 Unrecognized parameter"),
        (["EHLO c", "MAIL FROM:<x@>"], "501 5.1.7 Invalid address"),
        (["EHLO c", "MAIL FROM:<x y@out.test>"], "501 5.1.7 Invalid address"),
        (["EHLO c", "MAIL FROM:<x@out.test> SOMETHING=1"], "501 5.5.4 Invalid arguments"),
        (
            ["EHLO c", "MAIL FROM:<x@out.test> SIZE=99999999"],
            "552 5.3.4 Message size exceeds fixed maximum message size",
        ),
        (["EHLO c", "MAIL FROM:<x@out.test>", "RCPT TO:<>"], "501 5.1.3 Invalid address"),
        (["EHLO c", "MAIL FROM:<x@out.test>", "RCPT TO:<nobody>"], "501 5.1.3 Invalid address"),
        (["WHAT"], "500 5.3.3 Unrecognized command"),
        ([""], "500 5.3.3 Unrecognized command"),
        (["x" * 5000], "500 5.3.3 Unrecognized command"),
        (["EHLO c", "AUTH PLAIN"], "504 5.7.4 Unrecognized authentication type"),
        (["EHLO c", "AUTH LOGIN"], "504 5.7.4 Unrecognized authentication type"),
    ],
)
def test_wrong_words(raw: Raw, lines: list[str], answer: str) -> None:
    dialogue = raw()
    assert [dialogue.say(line) for line in lines][-1] == answer


@pytest.mark.parametrize(
    ("argument", "address", "parameters"),
    [
        ("<a@b.test>", "a@b.test", []),
        (" <a@b.test> SIZE=1 BODY=7BIT", "a@b.test", ["SIZE=1", "BODY=7BIT"]),
        ("a@b.test", "a@b.test", []),
        ("<>", "", []),
        ("<> SIZE=1", "", ["SIZE=1"]),
        ("<postmaster>", "postmaster", []),
        ("<@relay.test,@b.test:a@c.test>", "a@c.test", []),
        ('<"a b"@c.test>', '"a b"@c.test', []),
        ('<"a>b"@c.test>', '"a>b"@c.test', []),
        ('<"a@else.test"@c.test>', '"a@else.test"@c.test', []),
        ("<a%else.test@c.test>", "a%else.test@c.test", []),
    ],
)
def test_paths(argument: str, address: str, parameters: list[str]) -> None:
    assert parse_path(argument) == (address, parameters)


@pytest.mark.parametrize(
    "argument", ["", "<a@b@c>", "<a b@c>", "<@c.test:>", "<a@b", "a@b>", "<a@>", "<@b>", "<a>", "<<a@b>>"]
)
def test_no_paths(argument: str) -> None:
    assert parse_path(argument) is None


# Who may do what


def test_relay_is_refused(standin: Standin, dial: Callable[..., smtplib.SMTP]) -> None:
    for address in ("x@else.test", "x@sub.example.test", "anna@example.test.else.test", "x@[127.0.0.1]"):
        assert refusal(lambda to=address: dial().sendmail("x@out.test", [to], MESSAGE)) == NO_RELAY  # type: ignore[misc]
    assert standin.events("smtp_message") == []
    refused = standin.events("smtp_refused")
    assert [event["answer"] for event in refused] == [NO_RELAY] * 4
    assert refused[0]["command"].upper() == "RCPT TO:<X@ELSE.TEST>"


def test_source_route_is_no_way_round(dial: Callable[..., smtplib.SMTP]) -> None:
    client = dial()
    client.ehlo()
    client.mail("x@out.test")
    assert client.docmd("RCPT", "TO:<@example.test:x@else.test>")[0] == 550


def test_relay_with_the_right(standin: Standin, dial: Callable[..., smtplib.SMTP]) -> None:
    standin.set("ADPermission[+]", RELAY_RIGHT)
    dial().sendmail("x@out.test", ["x@else.test"], MESSAGE)
    assert standin.event("smtp_message")["delivered"] == []
    standin.set("ADPermission", [{**RELAY_RIGHT, "Identity": "EX1\\Other"}])
    assert refusal(lambda: dial().sendmail("x@out.test", ["x@else.test"], MESSAGE)) == NO_RELAY


def test_relay_connector_takes_its_own_clients_alone(standin: Standin, dial: Callable[..., smtplib.SMTP]) -> None:
    relay = {
        "Name": "Relay",
        "Bindings": [f"127.0.0.1:{standin.ports[25]}"],
        "RemoteIPRanges": ["127.0.0.5", "127.0.1.0/24"],
        "PermissionGroups": "AnonymousUsers",
        "TarpitInterval": "00:00:00",
    }
    standin.set("ReceiveConnector[Relay]", relay, "ADPermission[+]", {**RELAY_RIGHT, "Identity": "EX1\\Relay"})
    for source in ("127.0.0.5", "127.0.1.200"):
        dial(source=source).sendmail("x@out.test", ["x@else.test"], MESSAGE)
        assert standin.event("smtp_message", source=source)["connector"] == "EX1\\Relay"
    for source in ("127.0.0.4", "127.0.2.1"):
        assert refusal(lambda at=source: dial(source=at).sendmail("x@out.test", ["x@else.test"], MESSAGE)) == NO_RELAY  # type: ignore[misc]
    standin.set("ReceiveConnector[Relay].Enabled", False)
    assert refusal(lambda: dial(source="127.0.0.5").sendmail("x@out.test", ["x@else.test"], MESSAGE)) == NO_RELAY


def test_externally_secured_connector_relays(standin: Standin, dial: Callable[..., smtplib.SMTP]) -> None:
    standin.connector(25, AuthMechanism="Tls, ExternalAuthoritative", PermissionGroups="ExchangeServers")
    dial().sendmail("anna@example.test", ["x@else.test"], MESSAGE)


def test_anonymous_where_it_is_not_permitted(standin: Standin, raw: Raw) -> None:
    for port in (587, 717, 2525, 465):
        dialogue = raw(port)
        dialogue.say("EHLO client.out.test")
        assert dialogue.say("MAIL FROM:<x@out.test>") == NO_ANONYMOUS, CONNECTORS[port]
    standin.connector(25, PermissionGroups="None")
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    assert dialogue.say("MAIL FROM:<x@out.test>") == NO_ANONYMOUS


def test_denied_sender_of_the_own_domain(standin: Standin, raw: Raw) -> None:
    right = ["Ms-Exch-SMTP-Accept-Authoritative-Domain-Sender"]
    standin.set("ADPermission[+]", {**RELAY_RIGHT, "ExtendedRights": right, "Deny": True})
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    answer = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
    assert dialogue.say("MAIL FROM:<anna@example.test>") == answer
    assert dialogue.say("MAIL FROM:<x@out.test>") == "250 2.1.0 Sender OK"


def logged_on(dial: Callable[..., smtplib.SMTP], trust: ssl.SSLContext, user: str = ANNA) -> smtplib.SMTP:
    client = dial(587)
    client.starttls(context=trust)
    client.login(user, PASSWORDS.get(user, "wrong"))
    return client


def test_submission(standin: Standin, dial: Callable[..., smtplib.SMTP], trust: ssl.SSLContext) -> None:
    client = logged_on(dial, trust)
    client.sendmail(ANNA, ["x@else.test"], MESSAGE)
    event = standin.event("smtp_message")
    assert event["user"] == ANNA
    assert event["tls"] == "TLSv1.3"
    assert event["connector"] == "EX1\\Client Frontend EX1"
    answer = "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
    assert refusal(lambda: client.sendmail("berta@example.test", ["x@else.test"], MESSAGE)) == answer


def test_wrong_password(standin: Standin, dial: Callable[..., smtplib.SMTP], trust: ssl.SSLContext) -> None:
    client = dial(587)
    client.starttls(context=trust)
    assert refusal(lambda: client.login(ANNA, "wrong")) == "535 5.7.3 Authentication unsuccessful"
    # MaxLogonFailures is 3.
    client.docmd("AUTH LOGIN " + base64.b64encode(b"anna").decode())
    assert client.docmd(base64.b64encode(b"wrong").decode())[0] == 535
    client.docmd("AUTH LOGIN " + base64.b64encode(b"anna").decode())
    assert client.docmd(base64.b64encode(b"wrong").decode())[0] == 535
    assert client.getreply()[0] == 421
    refused = standin.events("smtp_refused")
    assert {event["command"] for event in refused} == {"AUTH"}, "no secret in the journal"


def test_tls_forgets_what_was_before(dial: Callable[..., smtplib.SMTP], trust: ssl.SSLContext) -> None:
    client = dial()
    client.ehlo()
    client.mail("x@out.test")
    client.starttls(context=trust)
    assert client.docmd("MAIL", "FROM:<x@out.test>")[0] == 503
    client.ehlo()
    assert client.docmd("STARTTLS")[0] == 500


def test_words_before_the_handshake_are_dropped(raw: Raw, trust: ssl.SSLContext) -> None:
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    # What follows STARTTLS in the same breath isn't taken as if it had come over TLS (RFC 3207).
    assert dialogue.say(b"STARTTLS\r\nEHLO evil.out.test\r\n") == "220 2.0.0 SMTP server ready"
    dialogue.start_tls(trust)
    assert dialogue.say("NOOP") == "250 2.0.0 OK"


def test_tls_can_be_required(standin: Standin, dial: Callable[..., smtplib.SMTP], trust: ssl.SSLContext) -> None:
    standin.connector(25, RequireTLS=True)
    client = dial()
    client.ehlo()
    assert client.docmd("MAIL", "FROM:<x@out.test>") == (451, b"5.7.3 STARTTLS is required to send mail")
    client.starttls(context=trust)
    client.ehlo()
    assert client.docmd("MAIL", "FROM:<x@out.test>")[0] == 250


def test_ntlm(standin: Standin, raw: Raw) -> None:
    standin.connector(25, PermissionGroups="ExchangeUsers")
    dialogue = raw()
    dialogue.say("EHLO client.out.test")

    def log_on(password: str) -> str:
        answer = dialogue.say("AUTH NTLM " + base64.b64encode(negotiate()).decode())
        assert answer.startswith("334 ")
        proof = authenticate(base64.b64decode(answer[4:]), "anna", "EXAMPLE", password)
        return dialogue.say(base64.b64encode(proof).decode())

    assert log_on("wrong") == "535 5.7.3 Authentication unsuccessful"
    assert log_on(PASSWORDS[ANNA]) == "235 2.7.0 Authentication successful"
    assert dialogue.say(f"MAIL FROM:<{ANNA}>") == "250 2.1.0 Sender OK"
    assert dialogue.say("RCPT TO:<x@else.test>") == "250 2.1.5 Recipient OK"


@pytest.mark.parametrize("word", ["*", "no base64", "YQ==\r\nNOOP"])
def test_logon_given_up(raw: Raw, word: str) -> None:
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    assert dialogue.say("AUTH NTLM").startswith("334 ")
    assert dialogue.say(word) == "501 5.5.4 Invalid arguments"
    assert dialogue.say("NOOP") == "250 2.0.0 OK"


# Limits


def test_message_size(standin: Standin, raw: Raw) -> None:
    standin.connector(25, MaxMessageSize="100 KB (102,400 bytes)")
    too_large = "552 5.3.4 Message size exceeds fixed maximum message size"
    dialogue = raw()
    assert "250-SIZE 102400" in dialogue.say("EHLO client.out.test")
    line = b"x" * 98 + b"\r\n"
    for lines, answer in ((1024, "250 2.6.0"), (1025, too_large), (3000, too_large)):
        dialogue.say("MAIL FROM:<x@out.test>")
        dialogue.say(f"RCPT TO:<{ANNA}>")
        dialogue.say("DATA")
        assert dialogue.say(line * lines + b".\r\n").startswith(answer)
    dialogue.say("MAIL FROM:<x@out.test>")
    dialogue.say(f"RCPT TO:<{ANNA}>")
    assert dialogue.say(b"BDAT 102401 LAST\r\n" + b"x" * 102401) == too_large


def test_large_message(standin: Standin, dial: Callable[..., smtplib.SMTP], trust: ssl.SSLContext) -> None:
    client = dial()
    client.starttls(context=trust)
    message = MESSAGE + (b"." * 70 + b"\r\n") * 100_000
    client.sendmail("x@out.test", ["nobody@example.test"], message)
    assert standin.event("smtp_message")["size"] == len(message)


def test_header_size_and_hops(standin: Standin, raw: Raw) -> None:
    standin.connector(25, MaxHeaderSize="1 KB (1,024 bytes)", MaxHopCount=3)
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    for head, answer in (
        (b"Received: x\r\n" * 3, "250"),
        (b"Received: x\r\n" * 4, "554 5.4.6 Hop count exceeded - possible mail loop"),
        (b"X: y\r\n" * 200, "552 5.3.4 Header size exceeds fixed maximum size"),
    ):
        dialogue.say("MAIL FROM:<x@out.test>")
        dialogue.say(f"RCPT TO:<{ANNA}>")
        dialogue.say("DATA")
        assert dialogue.say(head + b"\r\n.\r\n").startswith(answer)


def test_recipients(standin: Standin, raw: Raw) -> None:
    standin.connector(25, MaxRecipientsPerMessage=2)
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    dialogue.say("MAIL FROM:<x@out.test>")
    answers = [dialogue.say(f"RCPT TO:<u{n}@example.test>") for n in range(3)]
    assert answers == ["250 2.1.5 Recipient OK"] * 2 + ["452 4.5.3 Too many recipients"]


def test_connections_in_all(standin: Standin, raw: Raw) -> None:
    standin.connector(25, MaxInboundConnection=2, MaxInboundConnectionPercentagePerSource=100)
    first, second = raw(), raw()
    full = "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing "
    full += "transmission channel"
    third = raw(source="127.0.0.7")
    assert third.banner == full
    assert third.answer() == ""
    assert raw(587).banner.startswith("220 "), "each connector counts for itself"
    assert first.say("QUIT").startswith("221")
    assert standin.event("smtp_session", admitted=True)
    assert raw().banner.startswith("220 ")
    assert second.say("NOOP") == "250 2.0.0 OK"


PER_SOURCE = (
    "421 4.3.2 The maximum number of concurrent server connections has exceeded a per-source limit, "
    "closing transmission channel"
)


def test_connections_of_one_source(standin: Standin, raw: Raw) -> None:
    standin.connector(25, MaxInboundConnectionPerSource=3)
    banners = [raw().banner for _ in range(4)]
    assert [banner[:3] for banner in banners] == ["220", "220", "220", "421"]
    assert banners[3] == PER_SOURCE
    assert raw(source="127.0.0.7").banner.startswith("220 ")


def test_default_limit_of_one_source_is_20(raw: Raw) -> None:
    banners = [raw().banner for _ in range(21)]
    assert [banner[:3] for banner in banners] == ["220"] * 20 + ["421"]


def test_share_of_one_source(standin: Standin, raw: Raw) -> None:
    standin.connector(25, MaxInboundConnection=100, MaxInboundConnectionPercentagePerSource=5)
    banners = [raw().banner for _ in range(6)]
    assert [banner[:3] for banner in banners] == ["220"] * 5 + ["421"]
    assert banners[-1] == PER_SOURCE
    # What others hold isn't free: 5 % of 95 is 4.
    others = [raw(source="127.0.0.7").banner for _ in range(5)]
    assert [banner[:3] for banner in others] == ["220"] * 4 + ["421"]


def test_limits_can_be_lifted(standin: Standin, raw: Raw) -> None:
    standin.connector(25, MaxInboundConnectionPerSource="Unlimited", MaxInboundConnectionPercentagePerSource=100)
    assert all(raw().banner.startswith("220 ") for _ in range(40))


def test_protocol_errors(raw: Raw) -> None:
    dialogue = raw()
    answers = [dialogue.say("WHAT") for _ in range(6)]
    assert answers == ["500 5.3.3 Unrecognized command"] * 6
    assert dialogue.answer() == "421 4.7.0 Too many errors on this connection, closing transmission channel"
    assert dialogue.answer() == ""


def test_refused_recipients_are_no_protocol_errors(raw: Raw) -> None:
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    dialogue.say("MAIL FROM:<x@out.test>")
    assert {dialogue.say("RCPT TO:<x@else.test>") for _ in range(20)} == {NO_RELAY}
    assert dialogue.say("NOOP") == "250 2.0.0 OK"


def test_tarpit(standin: Standin, raw: Raw) -> None:
    standin.connector(25, TarpitInterval="00:00:01")
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    dialogue.say("MAIL FROM:<x@out.test>")

    def seconds(line: str) -> float:
        began = time.monotonic()
        dialogue.say(line)
        return time.monotonic() - began

    assert seconds("RCPT TO:<x@else.test>") >= 1
    assert seconds("RCPT TO:<x@example.test>") < 1


def test_message_rate(standin: Standin, dial: Callable[..., smtplib.SMTP], trust: ssl.SSLContext) -> None:
    client = logged_on(dial, trust)
    for _ in range(5):
        client.sendmail(ANNA, [ANNA], MESSAGE)
    answer = "421 4.4.2 Message submission rate for this client has exceeded the configured limit"
    assert refusal(lambda: client.sendmail(ANNA, [ANNA], MESSAGE)) == answer
    # By user, on this connector: another one isn't concerned.
    logged_on(dial, trust, "berta@example.test").sendmail("berta@example.test", [ANNA], MESSAGE)
    standin.connector(587, MessageRateLimit="Unlimited")
    logged_on(dial, trust).sendmail(ANNA, [ANNA], MESSAGE)


def test_silence(standin: Standin, raw: Raw) -> None:
    standin.connector(25, ConnectionInactivityTimeout="00:00:00.2000000")
    dialogue = raw()
    assert dialogue.answer() == "421 4.4.1 Connection timed out"
    assert dialogue.answer() == ""


def test_longest_session(standin: Standin, raw: Raw) -> None:
    standin.connector(25, ConnectionTimeout="00:00:00.4000000")
    dialogue = raw()
    began = time.monotonic()
    while dialogue.say("NOOP") == "250 2.0.0 OK":
        time.sleep(0.05)
    assert 0.3 < time.monotonic() - began < 10


# The state of the server


def pressure(standin: Standin, level: str) -> None:
    standin.set("ExchangeDiagnosticInfo.ResourceThrottling.ResourceTracker.AggregateUse", level)


@pytest.mark.parametrize("level", ["Medium", "High"])
def test_back_pressure(standin: Standin, raw: Raw, level: str) -> None:
    before = raw()
    before.say("EHLO client.out.test")
    pressure(standin, level)
    for dialogue in (raw(), before):
        assert dialogue.banner.startswith("220 ")
        assert dialogue.say("EHLO client.out.test").startswith("250-ex1")
        assert dialogue.say("MAIL FROM:<>") == "452 4.3.1 Insufficient system resources"
    pressure(standin, "Low")
    assert before.say("MAIL FROM:<>") == "250 2.1.0 Sender OK"


def test_medium_pressure_spares_servers(standin: Standin, raw: Raw) -> None:
    standin.connector(25, AuthMechanism="ExternalAuthoritative", PermissionGroups="ExchangeServers")
    for level, answer in (("Medium", "250"), ("High", "452")):
        pressure(standin, level)
        dialogue = raw()
        dialogue.say("EHLO client.out.test")
        assert dialogue.say("MAIL FROM:<>")[:3] == answer


@pytest.mark.parametrize("component", ["FrontendTransport", "ServerWideOffline"])
@pytest.mark.parametrize("state", ["Inactive", "Draining"])
def test_inactive_front_end(standin: Standin, raw: Raw, component: str, state: str) -> None:
    before = raw()
    standin.set(f"ServerComponentState[{component}].State", state)
    assert raw().banner == "421 4.3.2 Service not active"
    assert raw(587).banner == "421 4.3.2 Service not active"
    hub = "220 " if component == "FrontendTransport" else "421 4.3.2 Service not active"
    assert raw(2525).banner.startswith(hub)
    assert before.say("NOOP") == "250 2.0.0 OK", "what lives lives on"


def test_stopped_front_end(standin: Standin, raw: Raw) -> None:
    before, hub = raw(), raw(2525)
    standin.set("Service[MSExchangeFrontEndTransport].Status", "Stopped")
    for port in (25, 587, 717):
        with pytest.raises(ConnectionRefusedError):
            raw(port)
    with contextlib.suppress(ConnectionResetError):
        assert before.say("NOOP") == "", "a stopped service takes its connections along"
    assert hub.say("NOOP") == "250 2.0.0 OK"
    standin.set("Service[MSExchangeFrontEndTransport].Status", "Running")
    assert raw().banner.startswith("220 ")


@pytest.mark.parametrize(
    ("path", "value"),
    [("Service[MSExchangeTransport].Status", "Stopped"), ("ServerComponentState[HubTransport].State", "Inactive")],
)
def test_front_end_without_its_hub(standin: Standin, raw: Raw, path: str, value: str) -> None:
    standin.set(path, value)
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    assert dialogue.say("MAIL FROM:<x@out.test>") == "250 2.1.0 Sender OK"
    dialogue.say(f"RCPT TO:<{ANNA}>")
    assert dialogue.say("DATA") == "451 4.7.0 Temporary server error. Please try again later. PRX2"
    assert standin.events("smtp_message") == []


def test_disabled_connector_leaves_its_port(standin: Standin, raw: Raw) -> None:
    standin.connector(25, Enabled=False)
    with pytest.raises(ConnectionRefusedError):
        raw()


def test_source_that_no_connector_takes(standin: Standin, raw: Raw) -> None:
    standin.connector(25, RemoteIPRanges=["127.0.0.5"])
    assert raw().banner == "421 4.3.2 Service not available"
    assert raw(source="127.0.0.5").banner.startswith("220 ")


def test_change_spares_the_session_that_lives(standin: Standin, raw: Raw) -> None:
    before = raw()
    before.say("EHLO client.out.test")
    standin.connector(25, PermissionGroups="None", Banner="220 new")
    assert before.say("MAIL FROM:<x@out.test>") == "250 2.1.0 Sender OK"
    assert raw().banner == "220 new"


def test_client_that_vanishes(standin: Standin, raw: Raw) -> None:
    dialogue = raw()
    dialogue.say("EHLO client.out.test")
    dialogue.say("MAIL FROM:<x@out.test>")
    dialogue.say(f"RCPT TO:<{ANNA}>")
    dialogue.say("DATA")
    dialogue.close()
    assert standin.event("smtp_session")["messages"] == 0
    assert standin.events("smtp_message") == []
