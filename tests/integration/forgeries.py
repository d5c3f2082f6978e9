"""What a client may send in the hope that it reads like a line of HAProxy's log about somebody else."""

from __future__ import annotations

from probes.checks import MAIL

FORGERY = 'x" logon=failed client=198.18.77.7 status=401 y="'
HEADS = [
    f'GET /{FORGERY.replace(" ", chr(9))} HTTP/1.1\r\nHost: {MAIL}',
    f'GET /{FORGERY.replace(" ", "%20")} HTTP/1.1\r\nHost: {MAIL}',
    f"GET /{FORGERY} HTTP/1.1\r\nHost: {MAIL}",
    '/"%0aclient=198.18.77.7%20logon=failed',
    f'GET /\\"]\\x5d\\ HTTP/1.1\r\nHost: {MAIL}',
    f"GET /\x01\x7f\x80\xff\x1b[31m HTTP/1.1\r\nHost: {MAIL}",
    f"GET /owa/ HTTP/1.1\r\nHost: {FORGERY}",
    f"GET /owa/ HTTP/1.1\r\nHost: {FORGERY.replace(' ', '')}",
    "GET /owa/ HTTP/1.1\r\nHost: a\\\"b\\",
    f"GET /owa/ HTTP/1.1\r\nHost: {MAIL}\r\nUser-Agent: {FORGERY}\r\nX-Forwarded-For: 198.18.77.7",
    f"{FORGERY} /owa/ HTTP/1.1\r\nHost: {MAIL}",
    f'G"T /owa/ HTTP/1.1\r\nHost: {MAIL}',
    f"GET /{'x' * 8000} HTTP/1.1\r\nHost: {MAIL}",
    f"GET /\nclient=198.18.77.7 logon=failed HTTP/1.1\r\nHost: {MAIL}",
    f"GET / HTTP/1.1\r\nHost: {MAIL}\nclient=198.18.77.7 logon=failed",
    "client=198.18.77.7 logon=failed",
]  # fmt: skip
