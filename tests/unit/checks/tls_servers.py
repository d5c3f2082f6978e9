"""TLS servers on loopback, with certificates that have each fault."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

NAME = "mail.example.test"
DAY = timedelta(days=1)


@cache
def key(kind: str = "ec") -> Any:
    """A private key, the same for each kind."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind))


def make(
    subject: str,
    issuer: str,
    *,
    names: tuple[str, ...] = (),
    begin: timedelta = -10 * DAY,
    end: timedelta = 80 * DAY,
    kind: str = "ec",
    authority: bool = False,
) -> x509.Certificate:
    """A certificate, valid from and to so long from now. Everybody has the same key, which nobody here minds."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key(kind).public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
    return builder.sign(key("ec") if issuer != subject else key(kind), SHA256())


def pem(*certificates: x509.Certificate) -> str:
    """Certificates as PEM."""
    return "".join(one.public_bytes(Encoding.PEM).decode() for one in certificates)


ROOT = make("Test root", "Test root", authority=True)
MIDDLE = make("Test intermediate", "Test root", authority=True)


def leaf(**more: Any) -> x509.Certificate:
    """A server's certificate from the intermediate authority."""
    return make(NAME, "Test intermediate", **{"names": (NAME,), **more})


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on loopback that does something with each connection; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            connection, _ = listener.accept()
            with connection:
                try:
                    connection.settimeout(5)
                    if not ended.is_set():
                        serve(connection)
                except OSError:
                    pass

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        ended.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()
        listener.close()


@contextmanager
def presenting(folder: Path, *chain: x509.Certificate, kind: str = "ec", words: tuple[str, ...] = ()) -> Iterator[int]:
    """A TLS server with a chain; it says and hears ``words`` first, in turn."""
    secret = key(kind).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    (folder / "server.pem").write_text(pem(*chain) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")

    def serve(connection: socket.socket) -> None:
        for word in words:
            connection.sendall(word.encode())
            if word is not words[-1]:
                connection.recv(1000)
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    with listening(serve) as port:
        yield port
