"""A tiny web site over plain HTTP, for the gateways to publish: a page at /, the request's own headers at /echo."""

import json
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
PAGE = b"<!doctype html><title>www.example.test</title><p>It works.</p>\n"


class Site(BaseHTTPRequestHandler):
    """Answers GET and HEAD, and keeps connections open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.partition("?")[0] == "/echo":
            # A list of pairs, because a header may come twice.
            seen = {"path": self.path, "peer": self.client_address[0], "headers": self.headers.items()}
            self._answer(200, "application/json", json.dumps(seen).encode() + b"\n")
        elif self.path == "/":
            self._answer(200, "text/html; charset=utf-8", PAGE)
        else:
            self._answer(404, "text/plain", b"not here\n")

    do_HEAD = do_GET  # noqa: N815

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing: load tests come here too."""


class Server(ThreadingHTTPServer):
    """IPv4 and IPv6 on one socket."""

    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 256

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


if __name__ == "__main__":
    Server(("::", PORT), Site).serve_forever()
