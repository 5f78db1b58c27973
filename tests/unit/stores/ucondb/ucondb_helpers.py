"""Settings of a store, and answers as a server would give them."""

from __future__ import annotations

from types import SimpleNamespace

from pydantic import SecretStr

from tests.waiting import scaled

PASSWORD = "unguessable-4711"


def settings(url: str = "http://127.0.0.1:1/x/app", **changes: object) -> SimpleNamespace:
    values = {
        "server_url": url,
        "folder_name": "run_records",
        "object_name": "configuration",
        "timeout_seconds": scaled(5),
        "writer_user": "archiver",
        "writer_password": SecretStr(PASSWORD),
        "verify_tls": True,
        "ca_bundle": None,
        "database_uri": None,
    }
    return SimpleNamespace(**(values | changes))


def response(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


CHALLENGE = response(
    "401 No",
    b"Authorization required",
    'WWW-Authenticate: Digest realm="elsewhere.run_records", nonce="b\'MTc5NTQ2MjQ5OQ==\'", algorithm=MD5, qop="auth"',
)
"""How UconDB answers an unsigned write."""
