"""HTTP as UconDB needs it: sessions, digest, and the one place where its faults become the archiver's errors.

Knows statuses and headers, not versions and blobs; repeats nothing but a request that was answered with a challenge.
"""

from __future__ import annotations

import html
import os
import re
import shlex
import threading
from collections.abc import Mapping
from contextlib import nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import requests
import urllib3
from pydantic import SecretStr
from requests.auth import AuthBase

from rra_state.base import host_limits, steps
from rra_state.base.errors import AccessDenied, ArchiverError, RecordError, StoreError, StoreUnavailable
from rra_state.base.turns import Turns
from rra_state.stores.ucondb.digest import Digest, DigestAuth, Unsigned, UnsupportedChallenge

_HEADING = re.compile(r"<h3>(.*?)</h3>", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"<[^>]*>")


class Settings(Protocol):
    """The section `ucon_db` of the configuration, as far as this store reads it."""

    @property
    def server_url(self) -> str: ...  # noqa: D102
    @property
    def folder_name(self) -> str: ...  # noqa: D102
    @property
    def object_name(self) -> str: ...  # noqa: D102
    @property
    def timeout_seconds(self) -> float: ...  # noqa: D102
    @property
    def writer_user(self) -> str: ...  # noqa: D102
    @property
    def writer_password(self) -> SecretStr: ...  # noqa: D102
    @property
    def verify_tls(self) -> bool: ...  # noqa: D102
    @property
    def ca_bundle(self) -> Path | None: ...  # noqa: D102
    @property
    def database_uri(self) -> SecretStr | None: ...  # noqa: D102


class Transport:
    """Requests to one UconDB server. Threads and forked processes may share it; it does not pickle (password)."""

    def __init__(self, settings: Settings, turns: Turns | None = None) -> None:
        """turns: taken for each request, so that all processes together send so many at once; no limit without."""
        self._settings, self._turns = settings, turns
        self.url = _without_user(settings.server_url).rstrip("/")
        self.name = f"UconDB at {self.url}"
        self._base = self.url.replace(",", "%2C")
        self._auth = DigestAuth(settings.writer_user, settings.writer_password)
        self._asked_for_challenge, self._asking = False, threading.Lock()
        self._local = threading.local()
        if not settings.verify_tls:
            # Said once per cycle by who reads the configuration; urllib3 would say it with every request.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def ask(self, method: str, path: str, query: Mapping[str, str], body: bytes | None = None) -> requests.Response:
        """One request without authentication, answered with whatever status. Raises StoreError."""
        return self._send(method, _tail(path, query), body, Unsigned())

    def write(self, path: str, query: Mapping[str, str], body: bytes) -> requests.Response:
        """One POST with digest authentication; a challenge is answered once. Raises AccessDenied, StoreError."""
        self._learn(path)
        tail = _tail(path, query)
        answer = self._send("POST", tail, body, self._auth)
        if self._challenged(answer):
            answer = self._send("POST", tail, body, self._auth)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            self._asked_for_challenge = False
        return answer

    def _learn(self, path: str) -> None:
        """Ask once per process how writers are to sign: an unsigned, empty POST is answered with the challenge.

        A guessed realm would be refused as a wrong password is, without a challenge. `tv=x` is not a time: a server
        that asks for no password refuses this request too, and stores nothing.
        Source: docs/design/ucondb.md, Digest authentication.
        """
        with self._asking:
            if not self._asked_for_challenge:
                self._challenged(self._send("POST", _tail(path, {"tv": "x"}), b"", Unsigned()))
                self._asked_for_challenge = True

    def _challenged(self, answer: requests.Response) -> bool:
        """Whether the answer is a challenge; what it asks for is used from now on. Raises AccessDenied."""
        challenge = answer.headers.get("WWW-Authenticate")
        if answer.status_code != HTTPStatus.UNAUTHORIZED or not challenge:
            return False
        try:
            self._auth.digest = Digest.challenged(challenge)
        except UnsupportedChallenge as error:
            raise AccessDenied(f"{self.name}: asks for {error}, which the archiver cannot do (401).") from error
        return True

    def fault(self, answer: requests.Response, *, run: int | None = None) -> ArchiverError:
        """The error that an answer with an unwelcome status stands for.

        Source: docs/design/ucondb.md, Answers to a put.
        """
        status, said = answer.status_code, said_by(answer)
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
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
            return StoreUnavailable(f"{self.name}: {said or 'failed'} ({status}). Look at the server's own log.")
        if 300 <= status < 400:
            said = f"sends us elsewhere, to {answer.headers.get('Location', 'nowhere')}"
        return StoreError(f"{self.name}: {said or 'empty answer'} ({status}). Check ucon_db.server_url.")

    def no_folder(self) -> AccessDenied:
        """The error of a folder the server does not have."""
        folder, user = self._settings.folder_name, self._settings.writer_user or "USER"
        address = self._address(_tail("create_folder", {"folder": folder}))
        return AccessDenied(
            f"{self.name}: has no folder {folder}. "
            "Correct ucon_db.folder_name, or create it: "
            f"curl --digest --user {shlex.quote(user)} {shlex.quote(address)}"
        )

    def _refused(self, status: int) -> AccessDenied:
        folder = self._settings.folder_name
        if status == HTTPStatus.FORBIDDEN:
            return AccessDenied(f"{self.name}: refuses access to folder {folder} (403). Ask its administrator.")
        return AccessDenied(
            f"{self.name}: wrong user or password for folder {folder} (401). "
            "Set UCONDB_PASSWORD or ucon_db.writer_password."
        )

    def _send(self, method: str, tail: str, body: bytes | None, auth: AuthBase) -> requests.Response:
        """Send one request. Every exception of the HTTP libraries is mapped here and nowhere else."""
        settings = self._settings
        bundle = settings.verify_tls and settings.ca_bundle
        turn = self._turns.taken() if self._turns else nullcontext()
        try:
            with turn:
                steps.announce("ask", method, self._address(tail))
                answer = self._session().request(
                    method,
                    self._address(tail),
                    data=body,
                    auth=auth,
                    timeout=settings.timeout_seconds,  # for the connection, and then for each part of the answer
                    allow_redirects=False,
                    # Here and not in the session, whose value the variable REQUESTS_CA_BUNDLE would replace.
                    verify=str(bundle) if bundle else settings.verify_tls,
                )
                steps.announce("answered", method, self._address(tail))
                return answer
        except requests.exceptions.SSLError as error:
            raise StoreUnavailable(
                f"{self.name}: its TLS certificate is not accepted: {_reason(error)}. "
                "Set ucon_db.ca_bundle to the file of the authority that signed it."
            ) from error
        except (
            requests.exceptions.ConnectionError,
            requests.exceptions.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            if _timed_out(error):
                raise StoreUnavailable(
                    f"{self.name}: no answer within {settings.timeout_seconds:g} s. "
                    "See whether it is overloaded, or raise ucon_db.timeout_seconds."
                ) from error
            raise host_limits.refusal(error) or StoreUnavailable(
                f"{self.name}: {_reason(error)}. See whether it runs and can be reached from this host."
            ) from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise StoreError(f"{self.name}: {_reason(error)}. Correct ucon_db.server_url.") from error
        except OSError as error:  # requests lets this one out bare when the CA file is not there
            raise host_limits.refusal(error) or StoreError(
                f"{self.name}: {_reason(error)}. Correct ucon_db.ca_bundle."
            ) from error

    def _address(self, tail: str) -> str:
        return f"{self._base}{tail}"

    def _session(self) -> requests.Session:
        """The session of this thread, made anew after a fork: two processes must never share a socket."""
        if getattr(self._local, "process", None) != os.getpid():
            self._local.session, self._local.process = requests.Session(), os.getpid()
            # Sizes and checksums are those of the bytes on the wire: no proxy may compress them.
            self._local.session.headers["Accept-Encoding"] = "identity"
        session: requests.Session = self._local.session
        return session


def _tail(path: str, query: Mapping[str, str]) -> str:
    """What follows the server's address. Everything quoted, commas too: what is signed is exactly what is sent."""
    parts = "/".join(quote(part, safe="") for part in path.split("/"))
    return f"/{parts}" + (f"?{urlencode(query, quote_via=quote)}" if query else "")


def said_by(answer: requests.Response) -> str:
    """What an error page says, in one short line: the heading of a traceback page, or the start of the text."""
    page = answer.content[:100_000].decode("utf-8", "replace")
    heading = _HEADING.search(page)
    text = html.unescape(_TAGS.sub(" ", heading[1] if heading else page))
    return " ".join(text.split())[:200]


def _timed_out(error: Exception) -> bool:
    """Whether the server was silent for too long; requests calls that a ConnectionError in the middle of a body."""
    timed_out = requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError
    return isinstance(error, timed_out) or isinstance(error.__context__, timed_out)


def _reason(error: Exception) -> str:
    """The innermost cause in plain words; the outer layers repeat addresses and object ids."""
    cause: BaseException = error
    while True:
        inner = cause.__cause__ or cause.__context__ or getattr(cause, "reason", None)
        if not isinstance(inner, BaseException):
            break
        cause = inner
    if isinstance(cause, OSError) and cause.strerror:
        said = cause.strerror[0].lower() + cause.strerror[1:]
        return f"{said}: {cause.filename}" if cause.filename else said
    return " ".join(str(cause).split())[:200] or type(cause).__name__


def _without_user(url: str) -> str:
    """The address without `user:password@`, which must reach neither a message nor the server."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
