"""Requests of strangers to a server: without its password, with a wrong one, from another origin, by another name.

A program of its own that needs only Python, so that another user of the machine can run it too:

    python knocking.py PORT SECONDS < routes.json > counts.json

`routes.json` has pairs of method and path; the method of a WebSocket is `WS`. Each is tried in all ways, over and over
for so many seconds, and at least once. The counts are by way and answer.
"""

import base64
import json
import socket
import sys
import time
from collections import Counter

WRONG = base64.b64encode(b"admin:pass").decode()
WAYS = {
    "no password": {},
    "wrong password": {"Authorization": f"Basic {WRONG}"},
    "bearer": {"Authorization": "Bearer admin:pass"},
    "another origin": {"Origin": "http://evil.example", "Content-Type": "text/plain"},
    "no origin": {"Origin": "null"},
    "another port": {"Origin": "http://127.0.0.1:1"},
    "another name": {"Host": "evil.example"},
    "another name and origin": {"Host": "evil.example", "Origin": "http://evil.example"},
    "preflight": {
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,content-type",
    },
}
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "prefect",
}
CLOSED = "closed"
"""The answer of a WebSocket that says nothing but that it is closed."""


def knock(port: int, method: str, path: str, given: dict[str, str], body: bytes = b"") -> str:
    """The status of the answer to a request; `CLOSED` for a WebSocket that refuses a wrong password."""
    headers = {"Host": f"127.0.0.1:{port}", "Connection": "close", **given}
    headers |= HANDSHAKE if method == "WS" else {"Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    verb = "GET" if method == "WS" else method
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(f"{verb} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        answer = connection.makefile("rb")
        status = answer.readline().split()[1].decode()
        if status != "101":
            return status
        while answer.readline().strip():
            pass
        message = json.dumps({"type": "auth", "token": "admin:pass"}).encode()
        connection.sendall(bytes([0x81, 0x80 | len(message), 0, 0, 0, 0]) + message)
        return CLOSED if answer.read(1) == b"\x88" else "an open WebSocket"


def main(port: int, seconds: float) -> None:
    """Try all routes in all ways."""
    routes, counts, end = json.load(sys.stdin), Counter(), time.monotonic() + seconds
    while not counts or time.monotonic() < end:
        for method, path in routes:
            for way, headers in WAYS.items():
                verb = "OPTIONS" if way == "preflight" and method != "WS" else method
                body = b"{}" if verb in ("POST", "PUT", "PATCH") else b""
                counts[f"{way}: {knock(port, verb, path, headers, body)}"] += 1
    json.dump(counts, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
