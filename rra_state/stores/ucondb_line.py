"""The line to one UconDB server: where requests would send a request, and urllib3 to send it there.

requests looks once per connection for what its own rules make of address, proxies and certificates. Each request then
goes straight to urllib3, which takes half of the CPU. Knows no status, maps no fault: what the two raise comes out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

import requests
import urllib3
from requests.cookies import extract_cookies_to_jar, get_cookie_header

from rra_state.stores.ucondb_digest import Digest

_ONCE = urllib3.Retry(False, redirect=0)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered. headers: by name in any case."""

    status_code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    @property
    def ok(self) -> bool:
        """Whether the status stands for success."""
        return self.status_code < HTTPStatus.BAD_REQUEST


class Line:
    """What one thread of one process keeps between requests; two processes must never share a socket.

    Nothing is looked for before the first request.
    """

    def __init__(self, url: str, verify: bool | str, timeout: float) -> None:
        """verify: as in requests. timeout: seconds, for the connection and then for each part of the answer."""
        self.process = os.getpid()
        self.digest: Digest | None = None
        self._url, self._verify = url, verify
        self._timeout = urllib3.Timeout(connect=timeout, read=timeout)
        self._session = requests.Session()
        # Sizes and checksums are those of the bytes on the wire: no proxy may compress them.
        self._session.headers["Accept-Encoding"] = "identity"
        self._way: _Way | None = None

    def ask(self, method: str, tail: str, body: bytes | None, sign: Callable[[str], str] | None) -> Answer:
        """Send one request, once, and give whatever answer comes.

        tail: what follows the URL, quoted. sign: makes the Authorization header of the path and query as sent. None:
        there is none, also where ~/.netrc has a password. Raises RequestException, HTTPError, ValueError, OSError.
        """
        way = self._way = self._way or self._found()
        headers = {str(name): str(value) for name, value in self._session.headers.items()}
        if sign is not None:
            headers["Authorization"] = sign(way.path + tail)
        if len(self._session.cookies):
            headers["Cookie"] = self._cookies(method, tail)
        answer = way.pool.urlopen(
            method,
            way.target + tail,
            body,
            headers,
            retries=_ONCE,
            redirect=False,
            assert_same_host=False,
            timeout=self._timeout,
        )
        if "Set-Cookie" in answer.headers:  # of the server, or of a balancer before it
            extract_cookies_to_jar(self._session.cookies, self._request(method, tail), answer)  # type: ignore[no-untyped-call]
        return Answer(answer.status, answer.headers, answer.data)

    def _found(self) -> _Way:
        base = self._request("GET", "")
        how = self._session.merge_environment_settings(self._url, {}, None, self._verify, None)
        adapter = self._session.get_adapter(str(base.url))
        assert isinstance(adapter, requests.adapters.HTTPAdapter)  # noqa: S101 - there is no other
        pool = adapter.get_connection_with_tls_context(base, how["verify"], proxies=how["proxies"])
        assert isinstance(pool, urllib3.HTTPConnectionPool)  # noqa: S101 - nor here
        adapter.cert_verify(pool, base.url, how["verify"], None)  # type: ignore[no-untyped-call]
        return _Way(pool, base.path_url.rstrip("/"), adapter.request_url(base, how["proxies"]).rstrip("/"))

    def _request(self, method: str, tail: str) -> requests.PreparedRequest:
        return requests.Request(method, self._url + tail).prepare()

    def _cookies(self, method: str, tail: str) -> str:
        return get_cookie_header(self._session.cookies, self._request(method, tail)) or ""  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True)
class _Way:
    """path: of the URL, as a server signs it. target: the same, with the address before it if a proxy wants that."""

    pool: urllib3.HTTPConnectionPool
    path: str
    target: str
