"""TLS certificates and proxies: what is trusted, and what a refusal says."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from rra_state.base.errors import StoreError
from rra_state.stores.ucondb.client import UconDB
from tests.servers import canned
from tests.unit.stores.ucondb.ucondb_helpers import response, settings
from tests.waiting import scaled

TODAY = datetime.now(UTC)


@contextmanager
def tls_server(authority: trustme.CA, host: str = "127.0.0.1", expires: timedelta = timedelta(days=2)) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    begins = min(TODAY, TODAY + expires) - timedelta(days=1)
    issued = authority.issue_cert(host, not_before=begins, not_after=TODAY + expires)
    issued.configure_cert(context)
    with canned(response("200 OK", b"[]"), context=context) as (url, _):
        yield url.replace("http://", "https://")


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority that only this host's trust store has."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return made


def refusal(url: str, seconds: float | None = None) -> str:
    """What is said of a server. seconds: longest wait for it, long enough for one that answers unless given."""
    with pytest.raises(StoreError) as caught:
        UconDB(settings(url, timeout_seconds=seconds or scaled(1))).runs()
    return str(caught.value)


def test_case_b6_an_authority_of_the_host_is_trusted(authority: trustme.CA) -> None:
    with tls_server(authority) as url:
        assert UconDB(settings(url)).runs() == set()


def test_case_b7_an_expired_certificate_has_its_own_remedy(authority: trustme.CA) -> None:
    with tls_server(authority, expires=timedelta(days=-1)) as url:
        said = refusal(url)

    assert "certificate has expired" in said
    assert said.endswith("Have the server's certificate renewed, if this host's clock is right.")


def test_case_b7_a_certificate_of_another_host_has_its_remedy(authority: trustme.CA) -> None:
    with tls_server(authority, host="elsewhere.example") as url:
        said = refusal(url)

    assert "127.0.0.1" in said.partition("not accepted")[2]
    assert "Write a name of the certificate into ucon_db.server_url" in said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS at this port. Correct ucon_db.server_url"),
        (b"", "no answer within 1 s. See whether it is overloaded or speaks no TLS at this port"),
    ],
)
def test_case_b7_a_port_without_tls_has_its_own_remedy(answer: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client, suppress(ConnectionResetError):
                client.recv(65536)
                client.sendall(answer)
                client.recv(65536)

        thread = threading.Thread(target=serve)
        thread.start()
        said = refusal(f"https://127.0.0.1:{listener.getsockname()[1]}/x", None if answer else 1)
        thread.join()

    assert words in said
    assert "ca_bundle" not in said


def test_case_b7_an_unknown_authority_is_made_known() -> None:
    with tls_server(trustme.CA()) as url:
        assert "Set ucon_db.ca_bundle to the file of the authority that signed it" in refusal(url)


@pytest.mark.parametrize("variable", ["http_proxy", "all_proxy"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "the proxy cannot be used, connection refused: correct the variable, or add the server's host to"),
        ("407 Proxy Authentication Required", "the proxy refuses its user or password (407): correct the variable"),
        ("403 Forbidden", "Ask its administrator. If the proxy is the cause: correct the variable, or add"),
        ("503 Unavailable", "Look at the server's own log. If the proxy is the cause: correct the variable, or add"),
    ],
)
def test_case_b5_a_proxy_and_its_variable_are_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, answer: str | None, words: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with canned(response(answer or "", b"")) as (url, _):
        place = url.removeprefix("http://").partition("/")[0] if answer else "127.0.0.1:9"
        monkeypatch.setenv(variable, f"http://someone:secret@{place}")
        said = refusal("http://ucondb.invalid/x/app")

    assert f"UconDB at http://ucondb.invalid/x/app through the proxy {place} of {variable}: " in said
    assert words in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "value",
    ["http://u:hid/den@h:3128", "http://u:8080/hidden@h", "hidden://h", "http://[::1", " ", "http://h:99999"],
)
def test_case_b5_what_is_no_address_of_a_proxy_is_named(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("http_proxy", value)
    monkeypatch.delenv("no_proxy", raising=False)

    said = refusal("http://h.example/app")

    assert "through the proxy of http_proxy: the variable holds no http://HOST:PORT: correct the variable" in said
    assert "hid" not in said


@pytest.mark.parametrize(
    ("variable", "value"),
    [("REQUESTS_CA_BUNDLE", "missing"), ("REQUESTS_CA_BUNDLE", "text"), ("ucon_db.ca_bundle", "text")],
)
def test_case_b7_a_wrong_file_of_certificates_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: trustme.CA, variable: str, value: str
) -> None:
    (tmp_path / "text").write_text("no certificate\n")
    bundle = tmp_path / value if "." in variable else None
    if bundle is None:
        monkeypatch.setenv(variable, str(tmp_path / value))

    with tls_server(authority) as url, pytest.raises(StoreError) as caught:
        UconDB(settings(url, ca_bundle=bundle)).runs()

    assert str(caught.value).endswith(f"Correct {variable}.")
