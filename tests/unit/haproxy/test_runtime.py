"""What HAProxy says is understood: its complaints, and which configuration a process holds.

Its complaints are HAProxy's own words: those of the program on this machine, asked in the test, and those that 2.6 and
3.0 (Debian 12 and 13) wrote, kept here as they came.
"""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.postern.mail_gateway.plugins.module_utils.haproxy.runtime import (
    DIGEST_PLACE,
    DIGEST_PREFIX,
    Running,
    digest,
    messages,
    running,
    running_digest,
    with_source_lines,
)

Check = Callable[[Path], "subprocess.CompletedProcess[str]"]
Serve = Callable[[str], AbstractContextManager[Path]]

HEAD = """\
global
    default-path config
defaults
    mode http
    timeout client 5s
    timeout server 5s
    timeout connect 5s
"""

# Labels end at 63 characters: this name is looked up without a question to any name server.
NOWHERE = "x" * 64 + ".test"

# --- complaints of the HAProxy of this machine ------------------------------------------------------------------------

BROKEN = [
    pytest.param(
        "frontend f\n    bind 127.0.0.1:18080\n    fobar 1\n",
        "haproxy.cfg line 10 ('fobar 1'): unknown keyword 'fobar' in 'frontend' section",
        id="unknown keyword",
    ),
    pytest.param(
        f"backend b\n    server s1 {NOWHERE}:80\n",
        f"haproxy.cfg line 9 ('server s1 {NOWHERE}:80'): 'server b/s1' : could not resolve address '{NOWHERE}'",
        id="server that doesn't resolve",
    ),
    pytest.param(
        "frontend f\n    bind 127.0.0.1:18080\n    http-request deny if { src -f lists/none.list }\n",
        "haproxy.cfg line 10 ('http-request deny if { src -f lists/none.list }'): error detected while parsing an "
        "'http-request deny' condition : failed to open pattern file <lists/none.list>",
        id="missing list",
    ),
    pytest.param(
        "frontend f\n    bind 127.0.0.1:18080\n    http-request deny if { src -f lists/bad.list }\n",
        "haproxy.cfg line 10 ('http-request deny if { src -f lists/bad.list }'): error detected while parsing an "
        "'http-request deny' condition : '10.0.0.0/99' is not a valid IPv4 or IPv6 address at line 1 of file "
        "'lists/bad.list'",
        id="wrong network in a list",
    ),
    pytest.param(
        "frontend f\n    bind 127.0.0.1:18080 ssl crt certificates/none.pem\n",
        "haproxy.cfg line 9 ('bind 127.0.0.1:18080 ssl crt certificates/none.pem'): 'bind 127.0.0.1:18080' in section "
        "'frontend' : unable to stat SSL certificate from file 'certificates/none.pem' : No such file or directory",
        id="missing certificate",
    ),
    pytest.param(
        "frontend f\n    bind 127.0.0.1:18080 ssl crt certificates/mismatch.pem\n",
        "haproxy.cfg line 9 ('bind 127.0.0.1:18080 ssl crt certificates/mismatch.pem'): 'bind 127.0.0.1:18080' in "
        "section 'frontend' : inconsistencies between private key and certificate loaded 'certificates/mismatch.pem'",
        id="key of another certificate",
    ),
    pytest.param(
        "frontend f\n    bind 127.0.0.1:18080 ssl crt certificates/no_key.pem\n",
        "haproxy.cfg line 9 ('bind 127.0.0.1:18080 ssl crt certificates/no_key.pem'): 'bind 127.0.0.1:18080' in "
        "section 'frontend' : No Private Key found in 'certificates/no_key.pem.key'",
        id="no key",
    ),
    pytest.param(
        "frontend f\n    bind 127.0.0.1:18080 ssl crt-list lists/certificates.crt-list\n",
        "haproxy.cfg line 9 ('bind 127.0.0.1:18080 ssl crt-list lists/certificates.crt-list'): 'bind 127.0.0.1:18080' "
        "in section 'frontend' : 'crt-list' : unable to stat SSL certificate from file 'certificates/none.pem' : "
        "No such file or directory",
        id="missing certificate in a list",
    ),
    pytest.param(
        "backend b\n    server s1 127.0.0.1:80\nbackend b\n    server s1 127.0.0.1:80\n",
        "haproxy.cfg line 10 ('backend b'): backend 'b' has the same name as backend 'b' declared at haproxy.cfg:8",
        id="two backends of one name",
    ),
    pytest.param(
        "frontend f\n    bind 127.0.0.1:18080\n    default_backend gone\n",
        "Proxy 'f': unable to find required default_backend: 'gone'",
        id="missing backend",
    ),
    pytest.param(
        "frontend f\n    bind 127.0.0.1:99999\n",
        "haproxy.cfg line 9 ('bind 127.0.0.1:99999'): 'bind' : invalid port '99999'",
        id="impossible port",
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Path:
    """A configuration folder with lists and certificates, good and bad."""
    made = tmp_path_factory.mktemp("haproxy")
    (made / "lists").mkdir()
    (made / "lists/bad.list").write_text("10.0.0.0/99\n")
    (made / "lists/certificates.crt-list").write_text("certificates/none.pem [alpn http/1.1] a.example.test\n")
    (made / "certificates").symlink_to(certificates)
    return made


@pytest.mark.parametrize(("snippet", "sentence"), BROKEN)
def test_complaint(folder: Path, check: Check, snippet: str, sentence: str) -> None:
    configuration = HEAD + snippet
    (folder / "haproxy.cfg").write_text(configuration)
    checked = check(folder / "haproxy.cfg")
    assert checked.returncode != 0
    assert with_source_lines(messages(checked.stderr, "ALERT", [str(folder)]), configuration) == [sentence]


@pytest.mark.parametrize("name", ["garbage", "no_certificate"])
def test_complaint_about_a_file_that_holds_no_certificate(folder: Path, check: Check, name: str) -> None:
    """3.0 says more about it than 2.6."""
    (folder / "haproxy.cfg").write_text(f"{HEAD}frontend f\n    bind :18080 ssl crt certificates/{name}.pem\n")
    (sentence,) = messages(check(folder / "haproxy.cfg").stderr, "ALERT", [str(folder)])
    assert f"unable to load certificate from file 'certificates/{name}.pem'" in sentence


def test_every_complaint_is_heard_once_and_a_warning_is_none(folder: Path, check: Check) -> None:
    configuration = (
        f"{HEAD}frontend f\n    bind 127.0.0.1:18080\n    fobar 1\n    fobaz 2\n"
        "    use_backend b if TRUE\n    http-request deny\nbackend b\n"
    )
    (folder / "haproxy.cfg").write_text(configuration)
    said = check(folder / "haproxy.cfg").stderr
    assert messages(said + said, "ALERT", [str(folder)]) == [
        "haproxy.cfg line 10: unknown keyword 'fobar' in 'frontend' section",
        "haproxy.cfg line 11: unknown keyword 'fobaz' in 'frontend' section",
    ]
    assert with_source_lines(messages(said, "WARNING"), configuration) == [
        (
            "haproxy.cfg line 13 ('http-request deny'): "
            "a 'http-request' rule placed after a 'use_backend' rule will still be processed before"
        )
    ]


def test_sound_configuration_has_no_complaint(folder: Path, check: Check) -> None:
    (folder / "haproxy.cfg").write_text(f"{HEAD}frontend f\n    bind :18080 ssl crt certificates/good.pem\n")
    checked = check(folder / "haproxy.cfg")
    assert checked.returncode == 0
    assert messages(checked.stderr, "ALERT") == messages(checked.stderr, "WARNING") == []


# --- complaints as they came from Debian's two versions ---------------------------------------------------------------

# A reload with a port that another program has, from the journal (`--output cat`), and a refused configuration.
JOURNAL_2_6 = """\
[NOTICE]   (26999) : Reloading HAProxy
[WARNING]  (27004) : Paused frontend f.
[WARNING]  (27004) : Paused frontend GLOBAL.
[NOTICE]   (26999) : haproxy version is 2.6.12-1+deb12u4
[NOTICE]   (26999) : path to executable is /usr/sbin/haproxy
[ALERT]    (26999) : Binding [/etc/haproxy/haproxy.cfg:15] for frontend g: cannot bind socket (Address already in use) \
for [127.0.0.1:18082]
[ALERT]    (26999) : [/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting.
[WARNING]  (26999) : Loading failure!
[WARNING]  (27004) : Resumed frontend f.
[WARNING]  (27004) : Resumed frontend GLOBAL.
"""
JOURNAL_3_0 = """\
[NOTICE]   (194) : Reloading HAProxy
[WARNING]  (197) : Paused frontend f.
[WARNING]  (197) : Paused frontend GLOBAL.
[NOTICE]   (194) : haproxy version is 3.0.11-1+deb13u3
[NOTICE]   (194) : path to executable is /usr/sbin/haproxy
[ALERT]    (194) : Binding [/etc/haproxy/haproxy.cfg:15] for frontend g: protocol tcpv4: cannot bind socket \
(Address already in use) for [127.0.0.1:18082].
[ALERT]    (194) : [/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting.
[WARNING]  (197) : Resumed frontend f.
[WARNING]  (197) : Resumed frontend GLOBAL.
[WARNING]  (194) : Loading failure!
"""
# What a process says that is well while its servers aren't, and when it is stopped.
JOURNAL_OF_A_GOOD_PROCESS = """\
[NOTICE]   (26999) : New worker (27004) forked
[NOTICE]   (26999) : Loading success.
[WARNING]  (27004) : Server b/s1 is DOWN, reason: Layer4 connection problem, info: "Connection refused", check \
duration: 0ms. 0 active and 0 backup servers left. 0 sessions active, 0 requeued, 0 remaining in queue.
[ALERT]    (27004) : backend 'b' has no server available!
[WARNING]  (26999) : Exiting Master process...
[ALERT]    (26999) : Current worker (27004) exited with code 143 (Terminated)
[WARNING]  (26999) : All workers exited. Exiting... (0)
"""
CHECK_3_0 = """\
[NOTICE]   (139) : haproxy version is 3.0.11-1+deb13u3
[NOTICE]   (139) : path to executable is /usr/sbin/haproxy
[ALERT]    (145) : config : [/tmp/s/haproxy.cfg:9] : 'server b/s1' : Couldn't open the ca-file 'ca/none.pem' (No such \
file or directory).
[ALERT]    (145) : config : 'ca-file' : unable to load ca/none.pem.
[ALERT]    (149) : config : Parsing [/tmp/s/haproxy.cfg:10]: backend 'b' has the same name as backend 'b' declared at \
/tmp/s/haproxy.cfg:8.
[ALERT]    (151) : config : parsing [/tmp/s/haproxy.cfg:9] : 'bind 127.0.0.1:18080' in section 'frontend' : unable to \
load certificate from file 'garbage.pem': no start line.
[ALERT]    (177) : config : [/tmp/s/haproxy.cfg:9] : 'server b/s1' : could not resolve address 'nowhere.invalid'.
[ALERT]    (177) : config : Failed to initialize server(s) addr.
[WARNING]  (173) : config : missing timeouts for proxy 'x'.
   | While not properly invalid, you will certainly encounter various problems
   | with such a configuration. To fix this, please ensure that all following
   | timeouts are set to a non-zero value: 'client', 'connect', 'server'.
[ALERT]    (145) : config : Error(s) found in configuration file : /tmp/s/haproxy.cfg
[ALERT]    (145) : config : Fatal errors found in configuration.
"""
CHECK_3_0_OF_A_MIXED_PEM = """\
[ALERT]    (2686) : config : parsing [/tmp/s/haproxy.cfg:68] : 'bind 0.0.0.0:443' in section 'frontend' :\x20
  'crt-list' : error processing line 2 in file 'lists/certificates.crt-list' : inconsistencies between private key and \
certificate loaded 'certificates/mail.pem'.
  unable to load SSL private key into SSL Context 'certificates/mail.pem': passed a null parameter.
"""


@pytest.mark.parametrize(
    ("said", "level", "expected"),
    [
        pytest.param(
            CHECK_3_0_OF_A_MIXED_PEM,
            "ALERT",
            [
                (
                    "haproxy.cfg line 68: 'bind 0.0.0.0:443' in section 'frontend' : 'crt-list' : error processing "
                    "line 2 in file 'lists/certificates.crt-list' : inconsistencies between private key and "
                    "certificate loaded 'certificates/mail.pem'. unable to load SSL private key into SSL Context "
                    "'certificates/mail.pem': passed a null parameter"
                )
            ],
            id="3.0 in several lines",
        ),
        pytest.param(
            JOURNAL_2_6,
            "ALERT",
            ["haproxy.cfg line 15: frontend g: cannot bind socket (Address already in use) for [127.0.0.1:18082]"],
            id="2.6 reload",
        ),
        pytest.param(
            JOURNAL_3_0,
            "ALERT",
            [
                (
                    "haproxy.cfg line 15: frontend g: protocol tcpv4: cannot bind socket (Address already in use) "
                    "for [127.0.0.1:18082]"
                )
            ],
            id="3.0 reload",
        ),
        pytest.param(JOURNAL_OF_A_GOOD_PROCESS, "ALERT", [], id="a good process"),
        pytest.param(
            CHECK_3_0,
            "ALERT",
            [
                (
                    "haproxy.cfg line 9: 'server b/s1' : Couldn't open the ca-file 'ca/none.pem' (No such file or "
                    "directory)"
                ),
                "'ca-file' : unable to load ca/none.pem",
                "haproxy.cfg line 10: backend 'b' has the same name as backend 'b' declared at haproxy.cfg:8",
                (
                    "haproxy.cfg line 9: 'bind 127.0.0.1:18080' in section 'frontend' : unable to load certificate "
                    "from file 'garbage.pem': no start line"
                ),
                "haproxy.cfg line 9: 'server b/s1' : could not resolve address 'nowhere.invalid'",
            ],
            id="3.0 check",
        ),
        pytest.param(CHECK_3_0, "WARNING", ["missing timeouts for proxy 'x'"], id="3.0 warning of several lines"),
        pytest.param("", "ALERT", [], id="nothing"),
        pytest.param("haproxy: not found\n[ALERT] something else\n", "ALERT", [], id="not HAProxy's"),
    ],
)
def test_complaints_of_both_versions(said: str, level: str, expected: list[str]) -> None:
    assert messages(said, level, ["/tmp/s"]) == expected


@settings(max_examples=30, deadline=None)
@given(st.text())
def test_anything_said_is_survived(said: str) -> None:
    for text in with_source_lines(messages(said) + messages(f"[ALERT] (1) : {said}"), said):
        assert "\n" not in text


# --- the digest -------------------------------------------------------------------------------------------------------

SETS = st.dictionaries(st.text(max_size=4), st.binary(max_size=6), max_size=4)


@settings(max_examples=30, deadline=None)
@given(SETS, st.randoms())
def test_digest_knows_no_order(files: dict[str, bytes], random: "object") -> None:
    paths = list(files)
    random.shuffle(paths)  # type: ignore[attr-defined]
    shown = digest({path: files[path] for path in paths})
    assert shown == digest(files)
    assert len(shown) == 16
    assert set(shown) <= set("0123456789abcdef")


@settings(max_examples=30, deadline=None)
@given(SETS, SETS)
def test_digest_is_of_path_and_content(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert (digest(one) == digest(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": b"bc"}, {"ab": b"c"}),
        ({"a": b"", "b": b""}, {"a": b"b"}),
        ({"a": b"1", "b": b"2"}, {"a": b"2", "b": b"1"}),
        ({"a": b"b\x000\x00"}, {"a": b"", "b": b""}),
        ({}, {"": b""}),
    ],
)
def test_digest_tells_apart_what_reads_alike(one: dict[str, bytes], other: dict[str, bytes]) -> None:
    assert digest(one) != digest(other)


# --- the running process ----------------------------------------------------------------------------------------------


def test_digest_of_the_running_process(serve: Serve) -> None:
    wanted = digest({"haproxy.cfg": b"some"})
    line = f"description {DIGEST_PLACE}".replace(DIGEST_PLACE, f"{DIGEST_PREFIX}{wanted}")
    with serve(line) as path:
        assert running_digest(str(path)) == wanted
    # The socket is still there, and nobody listens on it.
    assert path.exists()
    assert running(str(path)) is None
    assert running_digest(str(path)) is None


def test_running_process_of_somebody_else(serve: Serve) -> None:
    with serve("description my own gateway 0123456789abcdef") as path:
        assert running_digest(str(path)) is None


@pytest.mark.parametrize("kind", ["nothing", "file", "folder", "long name"])
def test_nobody_listens(short: Path, kind: str) -> None:
    path = short / "admin.sock"
    if kind == "file":
        path.write_text("description: postern.mail_gateway 0123456789abcdef\n")
    elif kind == "folder":
        path.mkdir()
    elif kind == "long name":
        path = short / ("x" * 120)
    assert running(str(path)) is None
    assert running_digest(str(path)) is None


@contextmanager
def answering(path: Path, answer: bytes, *, close: bool = True) -> Iterator[None]:
    """Somebody who isn't HAProxy, and says this to one client."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        done = threading.Event()

        def serve() -> None:
            client, _ = server.accept()
            with client:
                client.recv(4096)
                client.sendall(answer)
                if not close:
                    done.wait(10)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(10)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"", None),
        (b"\xff\xfe\x00 garbage", None),
        (b"description\nPid\n", None),
        (b"Pid: none\ndescription: postern.mail_gateway 0123456789abcdef\n", None),
        (b"Pid: 7\ndescription: postern.mail_gatewa\n", Running(7, None)),
        (b"Pid: 7\nNode_description: postern.mail_gateway 0123456789abcdef\n", Running(7, None)),
        (b"Pid: 7\ndescription: postern.mail_gateway 0123456789abcdef\n", Running(7, "0123456789abcdef")),
        (b"Pid: 7\r\ndescription: postern.mail_gateway 0123456789abcdef \r\n", Running(7, "0123456789abcdef")),
    ],
)
def test_any_answer_is_survived(short: Path, answer: bytes, expected: Running | None) -> None:
    with answering(short / "admin.sock", answer):
        assert running(str(short / "admin.sock")) == expected


def test_silence_ends(short: Path) -> None:
    path = short / "admin.sock"
    began = time.monotonic()
    with answering(path, b"Pid: 7\n", close=False):
        assert running(str(path), seconds=0.2) is None
    assert time.monotonic() - began < 5
