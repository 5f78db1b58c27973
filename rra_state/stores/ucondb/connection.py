"""What lies between this host and a UconDB server: whose TLS certificates are trusted, and a proxy of the environment.

Sends nothing; `http.py` does.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import truststore
from requests.adapters import HTTPAdapter

_EXPIRED, _NOT_YET_VALID, _OTHER_HOST, _OTHER_ADDRESS = 10, 9, 62, 64
"""Results of OpenSSL's verification. Source: openssl-verification-options(1)."""
NO_HANDSHAKE = "The handshake operation timed out"
"""What Python says of a server that takes a connection and never answers the beginning of TLS."""
_PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
_OF_CERTIFICATE_FILES = ("X509", "PEM", "ASN1")
"""The libraries of OpenSSL that read a file of certificates."""
_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")


class HostTrust(HTTPAdapter):
    """Trusts the authorities of the host's trust store, or of SSL_CERT_FILE, instead of those that requests brings."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """See HTTPAdapter."""
        super().init_poolmanager(*arguments, ssl_context=_context(), **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """See HTTPAdapter."""
        return super().proxy_manager_for(proxy, ssl_context=_context(), **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """See HTTPAdapter."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if verify is True:
            conn.ca_certs = None


def _context() -> ssl.SSLContext:
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def trusted_by(ca_bundle: Path | None) -> str:
    """The key, or the variable of the environment, that names the file of the authorities to trust."""
    variables = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    set_ones = [name for name in variables if os.environ.get(name)]
    return set_ones[0] if set_ones and ca_bundle is None else "ucon_db.ca_bundle"


def tls_refusal(error: BaseException, reason: str, trusted: str) -> str:
    """What is wrong with a TLS connection, and the remedy.

    error: the innermost cause. reason: it in plain words. trusted: see `trusted_by`.
    """
    if isinstance(error, ssl.SSLError) and error.library in _OF_CERTIFICATE_FILES:
        return f"the file of certificates to trust cannot be used: {reason}. Correct {trusted}."
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its TLS certificate is not accepted: {reason}. {_certificate_remedy(error.verify_code)}"
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return "does not speak TLS at this port. Correct ucon_db.server_url: another port, or http:// for https://."
    return f"no TLS connection: {reason}. See whether the server, or a proxy between, speaks TLS 1.2 or later."


def _certificate_remedy(code: int) -> str:
    if code == _EXPIRED:
        return "Have the server's certificate renewed, if this host's clock is right."
    if code == _NOT_YET_VALID:
        return "See whether this host's clock is right."
    if code in (_OTHER_HOST, _OTHER_ADDRESS):
        return "Write a name of the certificate into ucon_db.server_url, or have the name added to the certificate."
    return (
        "Set ucon_db.ca_bundle to the file of the authority that signed it,"
        " or have the authority added to this host's trust store."
    )


@dataclass(frozen=True)
class Proxy:
    """The proxy of an environment variable. address: HOST:PORT; None if the variable holds no address of a proxy."""

    variable: str
    address: str | None

    def __str__(self) -> str:
        return f"the proxy {self.address} of {self.variable}" if self.address else f"the proxy of {self.variable}"


def proxy(url: str) -> Proxy | None:
    """The proxy through which the environment leads requests to this address; None if none.

    >>> proxy("nonsense") is None
    True
    """
    try:
        found = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
        if not found:
            return None
        names = [f"{urlsplit(url).scheme}_proxy", "all_proxy"]
        variables = [name for each in names for name in (each, each.upper()) if os.environ.get(name)]
        return Proxy(variables[0], _host_and_port(found))
    except (ValueError, IndexError):  # not an address; sending says so
        return None


def _host_and_port(address: str) -> str | None:
    """HOST:PORT of a proxy's address, without user and password; None if it is none.

    >>> _host_and_port("http://user:password@proxy:3128"), _host_and_port("http://user:pass/word@proxy")
    ('proxy:3128', None)
    """
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        named = parts.hostname and not parts.hostname.isspace() and parts.port != 0 and "@" not in parts.path
    except ValueError:
        return None
    return parts.netloc.rpartition("@")[2] if named and parts.scheme in _PROXY_SCHEMES else None
