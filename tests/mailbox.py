"""Real servers that messages go to: a mail server, and a stand-in for Slack behind a real proxy with real TLS."""

from __future__ import annotations

import email
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers import received
from tests.waiting import scaled

USER = "archiver@example.org"
PASSWORD = "p@ss:/ %41 #?&\"'\\$ {x}"
"""Every character that an address, a shell or a URL could stumble over."""


@dataclass
class Mailbox:
    """What a mail server got. encrypted: per mail, whether it came over TLS. logins: the user of each."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails.append(email.message_from_bytes(bytes(envelope.content or b""), policy=default))
        self.recipients.append(envelope.rcpt_tos)
        self.encrypted.append(session.ssl is not None)
        return "250 OK"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data.password == PASSWORD.encode() and data.login == USER.encode()
        if good:
            self.logins.append(data.login.decode())
        return AuthResult(success=good, handled=False)

    @property
    def texts(self) -> list[str]:
        return [mail.get_content().replace("\r\n", "\n") for mail in self.mails]  # type: ignore[attr-defined]

    @property
    def titles(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]


class _Controller(Controller):
    """On a free port."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr, attr-defined]
        super()._trigger_server()


@contextmanager
def mail_server(*, authority: trustme.CA | None = None, login: bool = False) -> Iterator[Mailbox]:
    """A mail server on loopback: with STARTTLS if there is an authority, and with a login that it insists on."""
    box = Mailbox()
    options: dict[str, Any] = {}
    if authority is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(context)
        options |= {"tls_context": context, "require_starttls": True}
    if login:
        options |= {"authenticator": box.authenticate, "auth_required": True, "auth_require_tls": authority is not None}
    controller = _Controller(box, hostname="localhost", port=0, ready_timeout=scaled(5), **options)
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()


@dataclass
class Slack:
    """What a stand-in for slack.com got. proxy: where `HTTPS_PROXY` has to point."""

    proxy: str = ""
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=lambda: {"ok": True, "channel": "C1"})


@contextmanager
def slack(authority: trustme.CA) -> Iterator[Slack]:
    """A proxy on loopback behind which `slack.com` is us, with a certificate of this authority."""
    told = Slack()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("slack.com").configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as server:
        told.proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        thread = threading.Thread(target=_serve, args=(server, context, told), daemon=True)
        thread.start()
        try:
            yield told
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(scaled(10))


def _serve(server: socket.socket, context: ssl.SSLContext, told: Slack) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            connection.settimeout(scaled(10))
            asked = _head(connection)
            assert asked.startswith(b"CONNECT slack.com:443 "), asked
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with context.wrap_socket(connection, server_side=True) as secure:
                _answer(secure, told)


def _answer(secure: ssl.SSLSocket, told: Slack) -> None:
    lines = _head(secure).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    body = b""
    while len(body) < int(headers["content-length"]):
        body += received(secure)
    told.requests.append((lines[0], headers["authorization"], json.loads(body)))
    answer = json.dumps(told.answer).encode()
    head = ("HTTP/1.1 200 OK", "Content-Type: application/json", f"Content-Length: {len(answer)}", "Connection: close")
    secure.sendall("\r\n".join((*head, "\r\n")).encode() + answer)


def _head(connection: socket.socket) -> bytes:
    """Up to the empty line, byte by byte so that nothing behind it is taken."""
    text = b""
    while not text.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError
        text += byte
    return text[:-4]


def trusted(authority: trustme.CA, directory: Path) -> dict[str, str]:
    """The environment in which a program trusts this authority and, as most do, all others."""
    import certifi

    bundle = directory / "authorities.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
    return {"SSL_CERT_FILE": str(bundle), "REQUESTS_CA_BUNDLE": str(bundle)}
