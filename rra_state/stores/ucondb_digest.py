"""HTTP digest authentication as UconDB understands it: one header per request, made before any challenge came.

Pure: no request is sent here. Source: spec/ucondb.md section 1, Digest; RFC 2617 and RFC 7616.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_HASHES: dict[str, Callable[[bytes], str]] = {
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
_PARAMETER = re.compile(r'([a-z-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.IGNORECASE)


class UnsupportedChallenge(ValueError):
    """the server's digest challenge asks for something this client cannot do"""


@dataclass(slots=True)
class Digest:
    """What the next digest header is made from; counts its uses (`nc`), so one instance belongs to one thread.

    opaque: echoed if the server gave one.
    """

    realm: str
    nonce: str
    algorithm: str = "MD5"
    opaque: str | None = None
    _uses: int = field(default=0, repr=False)

    @classmethod
    def preemptive(cls, realm: str) -> Digest:
        """A digest nobody asked for: UconDB never checks the nonce, so 401 and a second upload are saved."""
        return cls(realm, base64.b64encode(str(int(time.time())).encode()).decode())

    @classmethod
    def challenged(cls, www_authenticate: str) -> Digest:
        """The digest a stricter server asks for. Raises UnsupportedChallenge."""
        scheme, _, rest = www_authenticate.strip().partition(" ")
        given = {name.lower(): quoted or plain for name, quoted, plain in _PARAMETER.findall(rest)}
        algorithm = given.get("algorithm", "MD5").upper()
        qop = [one.strip() for one in given.get("qop", "").lower().split(",")]
        if scheme.lower() != "digest" or "realm" not in given or "nonce" not in given:
            raise UnsupportedChallenge(f"{scheme or 'no'} authentication")
        if algorithm not in _HASHES or "auth" not in qop:
            raise UnsupportedChallenge(f"digest with algorithm {algorithm} and qop {given.get('qop', 'none')}")
        return cls(_unescape(given["realm"]), given["nonce"], algorithm, given.get("opaque"))

    def header(self, method: str, uri: str, user: str, password: str, *, cnonce: str | None = None) -> str:
        """The Authorization header of one request; `uri` is its path and query exactly as sent.

        A comma in the uri would break the server's parser (spec/ucondb.md section 1): it must come as %2C.
        """
        if "," in uri:
            raise ValueError("a comma in the digest uri must be sent as %2C")
        self._uses += 1
        count = f"{self._uses:08x}"
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


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
