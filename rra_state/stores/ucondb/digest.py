"""HTTP digest authentication that signs every request after the first challenge.

`requests.auth.HTTPDigestAuth` waits for a 401 in each thread and sends the body twice. Sends no request.
Source: docs/design/ucondb.md, Digest authentication; RFC 2617 and RFC 7616.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pydantic import SecretStr
from requests import PreparedRequest

_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
_PARAMETER = re.compile(r'([a-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.IGNORECASE)


class UnsupportedChallenge(ValueError):
    """the server's digest challenge asks for something this client cannot do"""


@dataclass(frozen=True, slots=True)
class Digest:
    """The parameters of a server's challenge. Threads may share it: each header has the next count of uses (`nc`).

    opaque: sent back if the challenge has it.
    """

    realm: str
    nonce: str
    algorithm: str = "MD5"
    opaque: str | None = None
    _uses: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    @classmethod
    def challenged(cls, www_authenticate: str) -> Digest:
        """The parameters in a WWW-Authenticate header. Raises UnsupportedChallenge."""
        scheme, _, rest = www_authenticate.strip().partition(" ")
        given = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
        algorithm = given.get("algorithm", "MD5").upper()
        qop = [one.strip() for one in given.get("qop", "").lower().split(",")]
        if scheme.lower() != "digest" or "realm" not in given or "nonce" not in given:
            raise UnsupportedChallenge(f"{scheme or 'no'} authentication")
        if algorithm not in _HASHES or "auth" not in qop:
            raise UnsupportedChallenge(f"digest with algorithm {algorithm} and qop {given.get('qop', 'none')}")
        realm = re.sub(r"\\(.)", r"\1", given["realm"])
        return cls(realm, given["nonce"], algorithm, given.get("opaque"))

    def header(self, method: str, uri: str, user: str, password: str, *, cnonce: str | None = None) -> str:
        """The Authorization header of one request; `uri` is its path and query exactly as sent.

        A comma in the uri would break the server's parser: it must come as %2C.
        Source: docs/design/ucondb.md, Digest authentication.
        """
        if "," in uri:
            raise ValueError("a comma in the digest uri must be sent as %2C")
        count = f"{next(self._uses):08x}"
        cnonce = cnonce or os.urandom(8).hex()
        digest = _HASHES[self.algorithm]
        secret = digest(f"{user}:{self.realm}:{password}".encode())
        request = digest(f"{method}:{uri}".encode())
        response = digest(f"{secret}:{self.nonce}:{count}:{cnonce}:auth:{request}".encode())
        parts = [
            f'username="{_escape(user)}"',
            f'realm="{_escape(self.realm)}"',
            f'nonce="{self.nonce}"',
            f'uri="{uri}"',
            f"algorithm={self.algorithm}",
            f'response="{response}"',
            "qop=auth",
            f"nc={count}",
            f'cnonce="{cnonce}"',
        ]
        if self.opaque is not None:
            parts.append(f'opaque="{self.opaque}"')
        # http.client encodes header values as Latin-1; this makes that the UTF-8 bytes the secret was made from.
        return f"Digest {', '.join(parts)}".encode().decode("latin-1")


class DigestAuth:
    """Preemptive digest authentication: saves the 401 round trip and the second upload.

    The realm is NAMESPACE.FOLDER. The namespace is a setting of the server, known from its challenge only. Until
    `digest` is set, requests are not signed, not even with a password of ~/.netrc.
    """

    def __init__(self, user: str, password: SecretStr) -> None:
        self.digest: Digest | None = None
        self._user, self._password = user, password

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the Authorization header. requests calls this when path, query and body are final."""
        if self.digest is not None:
            method, path = str(request.method), request.path_url
            header = self.digest.header(method, path, self._user, self._password.get_secret_value())
            request.headers["Authorization"] = header
        return request


def unsigned(request: PreparedRequest) -> PreparedRequest:
    """Add nothing to a request. Without an authentication, requests would send the host's password of ~/.netrc."""
    return request


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
