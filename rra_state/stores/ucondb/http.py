"""Send HTTP requests to UconDB: sessions, digest authentication, and the mapping of HTTP errors to StoreError.

Knows nothing of versions and blobs. Repeats a request only after a digest challenge: after an error that may pass, such
as status 503, `workers.worker` tries the run again.
"""

from __future__ import annotations

import html
import os
import re
import shlex
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import requests
import urllib3

from rra_state.base import files, host_limits
from rra_state.base.concurrency import Slots
from rra_state.base.errors import AccessDenied, ArchiverError, RecordError, StoreError, StoreUnavailable
from rra_state.base.wording import shortened
from rra_state.stores.ucondb import connection
from rra_state.stores.ucondb.digest import Digest, DigestAuth, UnsupportedChallenge, unsigned

if TYPE_CHECKING:
    from rra_state.config.models import UconDBSection

_HEADING = re.compile(r"<h3>(.*?)</h3>", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"<[^>]*>")
LONGEST_TEXT = 200
"""Characters of a server's text that a message shows."""
Authentication = Callable[[requests.PreparedRequest], requests.PreparedRequest]
_PROXY_REMEDY = "correct the variable, or add the server's host to no_proxy."


class Transport:
    """Requests to one UconDB server. Threads and forked processes may share it. Not picklable: holds the password."""

    def __init__(self, settings: UconDBSection, slots: Slots | None = None) -> None:
        """slots: limits the requests that all processes together have in progress; None: no limit."""
        self._settings, self._slots = settings, slots
        parts = urlsplit(settings.server_url)
        # Without `user:password@`, which must reach neither a message nor the server.
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        self._proxy = connection.proxy(self.url)
        self.name = f"UconDB at {self.url}" + (f" through {self._proxy}" if self._proxy else "")
        self._if_proxy = f" If the proxy is the cause: {_PROXY_REMEDY}" if self._proxy else ""
        self._base = self.url.replace(",", "%2C")
        self._auth = DigestAuth(settings.writer_user, settings.writer_password)
        self._asked_for_challenge, self._asking = False, threading.Lock()
        self._local = threading.local()
        if not settings.verify_tls:
            # The configuration's warning is printed once per cycle; urllib3 would print one per request.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def ask(self, method: str, path: str, query: Mapping[str, str], body: bytes | None = None) -> requests.Response:
        """Send a request without authentication. Returns the answer with any status. Raises StoreError."""
        return self._send(method, _tail(path, query), body, unsigned)

    def write(self, path: str, query: Mapping[str, str], body: bytes) -> requests.Response:
        """Send a POST with digest authentication; after a challenge once more. Raises AccessDenied, StoreError."""
        self._learn(path)
        tail = _tail(path, query)
        answer = self._send("POST", tail, body, self._auth)
        if self._challenged(answer):
            answer = self._send("POST", tail, body, self._auth)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._asked_for_challenge = False
        return answer

    def realm(self, path: str) -> str | None:
        """The realm of the server's challenge, NAMESPACE.FOLDER; None if it asks for no password. Raises StoreError."""
        self._learn(path)
        return self._auth.digest.realm if self._auth.digest else None

    def _learn(self, path: str) -> None:
        """Learn the realm, once per process: the server answers an unsigned, empty POST with its challenge.

        It refuses a wrong realm like a wrong password, without a challenge. `tv=x` is not a time, so a server without
        authentication refuses this request too and stores nothing.
        Source: docs/design/ucondb.md, Digest authentication.
        """
        with self._asking:
            if not self._asked_for_challenge:
                self._challenged(self._send("POST", _tail(path, {"tv": "x"}), b"", unsigned))
                self._asked_for_challenge = True

    def _challenged(self, answer: requests.Response) -> bool:
        """Whether the answer is a challenge; if so, its parameters are used from now on. Raises AccessDenied."""
        challenge = answer.headers.get("WWW-Authenticate")
        if answer.status_code != HTTPStatus.UNAUTHORIZED or not challenge:
            return False
        try:
            self._auth.digest = Digest.challenged(challenge)
        except UnsupportedChallenge as error:
            raise AccessDenied(f"{self.name}: asks for {error}, which the archiver does not support (401).") from error
        return True

    def error(self, answer: requests.Response, *, run: int | None = None) -> ArchiverError:
        """The error for an answer whose status is not the expected one.

        Source: docs/design/ucondb.md, Answers to a put.
        """
        status, said = answer.status_code, said_by(answer)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED):
            return self._refused(status)
        if status == HTTPStatus.NOT_FOUND and re.fullmatch(r"Folder( \S+)? not found", said):
            return self.no_folder()
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and run is not None:
            return RecordError(
                f"{self.name}: the blob is too large for the server (413)",
                run=run,
                hint="have the limit of server or proxy raised, then --retry-failed-migrate",
            )
        if status >= 500 or status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS):
            return StoreUnavailable(
                f"{self.name}: {said or 'failed'} ({status}). Look at the server's own log.{self._if_proxy}"
            )
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            return StoreError(f"{self.name}: takes no writes: {said} (405). Ask its administrator.")
        if 300 <= status < 400:
            said = f"sends us elsewhere, to {answer.headers.get('Location', 'nowhere')}"
        return StoreError(f"{self.name}: {said or 'empty answer'} ({status}). Check ucon_db.server_url.")

    def no_folder(self) -> AccessDenied:
        """The error for a folder that the server does not have."""
        folder, user = self._settings.folder_name, self._settings.writer_user or "USER"
        address = self._address(_tail("create_folder", {"folder": folder}))
        return AccessDenied(
            f"{self.name}: has no folder {folder}. "
            "Correct ucon_db.folder_name, or create it: "
            f"curl --digest --user {shlex.quote(user)} {shlex.quote(address)}"
        )

    def _refused(self, status: int) -> AccessDenied:
        folder = self._settings.folder_name
        if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return AccessDenied(f"{self.name}: the proxy refuses its user or password (407): {_PROXY_REMEDY}")
        if status == HTTPStatus.FORBIDDEN:
            return AccessDenied(
                f"{self.name}: refuses access to folder {folder} (403). Ask its administrator.{self._if_proxy}"
            )
        return AccessDenied(
            f"{self.name}: wrong user or password for folder {folder} (401). "
            "Set UCONDB_PASSWORD or ucon_db.writer_password."
        )

    def _send(self, method: str, tail: str, body: bytes | None, auth: Authentication) -> requests.Response:
        """Send one request. Only here exceptions of the HTTP libraries are mapped to StoreError."""
        settings = self._settings
        if self._proxy and self._proxy.address is None:
            raise StoreError(f"{self.name}: the variable holds no http://HOST:PORT: {_PROXY_REMEDY}")
        trusted = connection.trusted_by(settings.ca_bundle)
        bundle = settings.verify_tls and settings.ca_bundle
        slot = self._slots.held() if self._slots else nullcontext()
        try:
            with slot:
                files.announce("ask", method, self._address(tail))
                answer = self._session().request(
                    method,
                    self._address(tail),
                    data=body,
                    auth=auth,
                    timeout=settings.timeout_seconds,  # applies to the connection, and to each part of the answer
                    allow_redirects=False,
                    # Not set in the session: there the variable REQUESTS_CA_BUNDLE would override it.
                    verify=str(bundle) if bundle else settings.verify_tls,
                )
                files.announce("answered", method, self._address(tail))
                return answer
        except requests.exceptions.SSLError as error:
            refusal = connection.tls_refusal(_cause(error), _reason(error), trusted)
            raise StoreUnavailable(f"{self.name}: {refusal}") from error
        except requests.exceptions.ProxyError as error:
            raise StoreUnavailable(
                f"{self.name}: the proxy cannot be used, {_reason(error)}: {_PROXY_REMEDY}"
            ) from error
        except (
            requests.exceptions.ConnectionError,
            requests.exceptions.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            if _timed_out(error):
                port = " or speaks no TLS at this port" if connection.NO_HANDSHAKE in str(_cause(error)) else ""
                raise StoreUnavailable(
                    f"{self.name}: no answer within {settings.timeout_seconds:g} s. "
                    f"See whether it is overloaded{port}, or raise ucon_db.timeout_seconds.{self._if_proxy}"
                ) from error
            raise host_limits.refusal(error) or StoreUnavailable(
                f"{self.name}: {_reason(error)}. See whether it runs and can be reached from this host.{self._if_proxy}"
            ) from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise StoreError(f"{self.name}: {_reason(error)}. Correct ucon_db.server_url.") from error
        except OSError as error:  # requests does not wrap the error of a missing CA file
            raise host_limits.refusal(error) or StoreError(
                f"{self.name}: {_reason(error)}. Correct {trusted}."
            ) from error

    def _address(self, tail: str) -> str:
        return f"{self._base}{tail}"

    def _session(self) -> requests.Session:
        """The session of this thread, a new one after a fork: two processes must never share a socket."""
        if getattr(self._local, "process", None) != os.getpid():
            self._local.session, self._local.process = requests.Session(), os.getpid()
            if self._settings.verify_tls and self._settings.ca_bundle is None:
                self._local.session.mount("https://", connection.HostTrust())
            # Sizes and checksums are those of the bytes on the wire: no proxy may compress them.
            self._local.session.headers["Accept-Encoding"] = "identity"
        session: requests.Session = self._local.session
        return session


def _tail(path: str, query: Mapping[str, str]) -> str:
    """Path and query after the server's address. All is quoted, commas too: the signed text is the sent text."""
    parts = "/".join(quote(part, safe="") for part in path.split("/"))
    return f"/{parts}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")


def said_by(answer: requests.Response) -> str:
    """The text of an error page in one short line: the heading of a traceback page, or the start of the text."""
    page = answer.content[:100_000].decode("utf-8", "replace")
    heading = _HEADING.search(page)
    text = html.unescape(_TAGS.sub(" ", heading[1] if heading else page))
    return shortened(" ".join(text.split()), LONGEST_TEXT)


def _timed_out(error: Exception) -> bool:
    """Whether the server took too long. In the middle of a body requests raises ConnectionError for that."""
    timed_out = requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError
    return isinstance(error, timed_out) or isinstance(error.__context__, timed_out)


def _reason(error: Exception) -> str:
    """The innermost cause in plain words; the outer layers repeat addresses and object ids."""
    cause = _cause(error)
    if isinstance(cause, OSError) and cause.strerror:
        said = cause.strerror[0].lower() + cause.strerror[1:]
        return f"{said}: {cause.filename}" if cause.filename else said
    return shortened(" ".join(str(cause).split()), LONGEST_TEXT) or "no reason given"


def _cause(error: BaseException) -> BaseException:
    """The innermost cause. An error of ours that was being handled when this one came is none."""
    while True:
        inner = error.__cause__ or error.__context__ or getattr(error, "reason", None)
        if not isinstance(inner, BaseException) or isinstance(inner, ArchiverError):
            return error
        error = inner
