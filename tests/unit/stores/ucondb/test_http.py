"""Addresses, TLS and the mapping of faults, without UconDB."""

from __future__ import annotations

import pickle
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from rra_state.base.errors import AccessDenied, ArchiverError, RecordError, StoreError, StoreUnavailable
from rra_state.stores.ucondb.client import UconDB
from rra_state.stores.ucondb.http import Transport, said_by
from tests import ports
from tests.servers import canned
from tests.unit.stores.ucondb.ucondb_helpers import CHALLENGE, PASSWORD, response, settings
from tests.waiting import scaled

# ---- what goes over the line -----------------------------------------------------------------------------------------


def test_what_is_signed_is_what_is_sent() -> None:
    with canned(CHALLENGE, response("200 OK", b"5")) as (url, got):
        Transport(settings(url.replace("/x/app", "/x,y/app/"))).write("data/f/a b,c", {"key": "a,b/c&d"}, b"blob")

    line, headers = got[1].decode().split("\r\n", 1)
    sent = line.split()[1]
    assert sent == "/x%2Cy/app/data/f/a%20b%2Cc?key=a%2Cb%2Fc%26d"
    assert re.search('uri="([^"]*)"', headers)[1] == sent
    assert "Content-Length: 4" in headers
    assert headers.endswith("\r\n\r\nblob")


def test_reading_takes_no_password_from_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    with canned(response("200 OK", b"[]")) as (url, got):
        assert UconDB(settings(url)).versions() == {}

    assert b"Authorization" not in got[0]


def test_a_proxy_gets_the_whole_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with canned(CHALLENGE, response("200 OK", b"5")) as (url, got):
        monkeypatch.setenv("http_proxy", url.replace("http://", "http://someone:secret@").removesuffix("/x/app"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        Transport(settings("http://ucondb.invalid/x/app")).write("data/f", {"key": "7"}, b"blob")

    assert got[1].startswith(b"POST http://ucondb.invalid/x/app/data/f?key=7 HTTP/1.1\r\n")
    assert b"Host: ucondb.invalid\r\n" in got[1]
    assert b'uri="/x/app/data/f?key=7"' in got[1]
    assert all(b"Proxy-Authorization: Basic c29tZW9uZTpzZWNyZXQ=" in each for each in got)


def test_a_balancers_cookie_is_given_back_to_it() -> None:
    ok = response("200 OK", b"[]", "Set-Cookie: node=b; Path=/")

    with canned(ok) as (url, got):
        store = UconDB(settings(url))
        store.versions()
        store.versions()

    assert b"Cookie" not in got[0]
    assert b"Cookie: node=b\r\n" in got[1]


def test_only_identity_encoding_is_accepted() -> None:
    with canned(response("200 OK", b"[]")) as (url, got):
        UconDB(settings(url)).versions()

    assert b"Accept-Encoding: identity\r\n" in got[0]


def test_a_user_in_the_address_is_never_sent_or_shown() -> None:
    with canned(response("500 No", b"down")) as (url, got):
        store = UconDB(settings(url.replace("http://", f"http://someone:{PASSWORD}@")))
        with pytest.raises(StoreUnavailable) as caught:
            store.versions()

    assert PASSWORD not in str(caught.value) + store.describe()
    assert b"Authorization" not in got[0]


def test_the_realm_of_the_challenge_is_used() -> None:
    with canned(CHALLENGE, response("200 OK", b"5")) as (url, got):
        transport = Transport(settings(url))
        for body in (b"first", b"second"):
            transport.write("data/f/o", {"key": "7"}, body)

    asked, *signed = [each.partition(b"\r\n\r\n") for each in got]
    assert asked[0].startswith(b"POST /x/app/data/f/o?tv=x ")
    assert b"Authorization" not in asked[0]
    assert [body for _, _, body in (asked, *signed)] == [b"", b"first", b"second"]
    assert all(b'realm="elsewhere.run_records"' in head for head, _, _ in signed)


def test_a_server_without_authentication_gets_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    no_time = response("500 No", b"<h3>could not convert string to float: 'x'</h3>")

    with canned(no_time, response("200 OK", b"5")) as (url, got):
        answer = Transport(settings(url)).write("data/f/o", {"key": "7"}, b"blob")

    assert answer.content == b"5"
    assert len(got) == 2
    assert b"Authorization" not in b"".join(got)


def test_a_stricter_server_is_answered_once() -> None:
    challenge = 'WWW-Authenticate: Digest realm="strict", nonce="theirs", opaque="o", qop="auth", algorithm=SHA-256'

    with canned(response("401 No", b"", challenge), response("200 OK", b"5")) as (url, got):
        transport = Transport(settings(url))
        first = transport.write("data", {}, b"1")
        second = transport.write("data", {}, b"2")

    assert (first.status_code, second.status_code) == (200, 200)
    assert len(got) == 3
    assert b'nonce="theirs"' in got[1]
    assert b"nc=00000002" in got[2]


def test_a_server_that_keeps_challenging_has_refused() -> None:
    challenge = 'WWW-Authenticate: Digest realm="strict", nonce="n", qop="auth"'

    with canned(response("401 No", b"", challenge)) as (url, got), pytest.raises(AccessDenied):
        UconDB(settings(url)).put(1, b"blob")

    assert len(got) == 3


def test_basic_authentication_is_refused() -> None:
    basic = response("401 No", b"", 'WWW-Authenticate: Basic realm="x"')

    with canned(basic) as (url, got), pytest.raises(AccessDenied, match="asks for Basic authentication"):
        UconDB(settings(url)).put(1, b"blob")

    assert len(got) == 1


def test_the_store_does_not_pickle_its_password() -> None:
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(UconDB(settings()))


# ---- faults become errors at one place -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (response("401 No"), AccessDenied, "wrong user or password for folder run_records (401). Set UCONDB_PASSWORD"),
        (response("403 No"), AccessDenied, "refuses access to folder run_records (403)"),
        (response("404 No", b"Folder not found"), AccessDenied, "has no folder run_records"),
        (response("404 No", b"Folder run_records not found"), AccessDenied, "ucon_db.folder_name"),
        (response("404 No", b"<html>nginx</html>"), StoreError, "nginx (404). Check ucon_db.server_url"),
        (
            response("302 Go", b"", "Location: http://127.0.0.1:9/login"),
            StoreError,
            "elsewhere, to http://127.0.0.1:9/login",
        ),
        (response("500 No", b"<html><h3>it &lt;broke&gt;\n</h3><pre>x"), StoreUnavailable, "it <broke> (500)"),
        (b"HTTP/1.1 503 Service unavailable\n\n", StoreUnavailable, "(503)"),
        (b"", StoreUnavailable, "closed connection without response"),
        (b"nonsense\r\n\r\n", StoreUnavailable, "nonsense"),
    ],
)
def test_an_error_answer_gives_a_message_with_a_remedy(answer: bytes, kind: type, words: str) -> None:
    with canned(answer) as (url, _):
        store = UconDB(settings(url))
        with pytest.raises(ArchiverError) as caught:
            store.versions()

    assert type(caught.value) is kind
    assert caught.value.stops_cycle
    assert str(caught.value).startswith(f"UconDB at {url}: ")
    assert words in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_the_message_for_a_wrong_password_is_the_documented_one() -> None:
    with canned(response("401 No", b"Authorization required")) as (url, _), pytest.raises(AccessDenied) as caught:
        UconDB(settings(url)).put(1, b"blob")

    assert str(caught.value) == (
        f"UconDB at {url}: wrong user or password for folder run_records (401). "
        "Set UCONDB_PASSWORD or ucon_db.writer_password."
    )


def test_a_blob_too_large_fails_its_run_only() -> None:
    missing = response("404 No", b"Version not found")

    with (
        canned(CHALLENGE, response("413 Too large"), missing) as (url, _),
        pytest.raises(RecordError, match=r"run 7: .*too large") as caught,
    ):
        UconDB(settings(url)).put(7, b"blob")

    assert not caught.value.stops_cycle


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with (
        ports.reserved() as port,
        pytest.raises(StoreUnavailable, match=rf"127\.0\.0\.1:{port}/x: connection refused"),
    ):
        UconDB(settings(f"http://127.0.0.1:{port}/x")).runs()


def test_an_unknown_host_name_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match=r"no-such-host\.invalid"):
        UconDB(settings("http://no-such-host.invalid/x")).runs()


def test_a_silent_server_is_given_up_after_the_configured_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        store = UconDB(settings(f"http://127.0.0.1:{listener.getsockname()[1]}/x", timeout_seconds=0.2))

        with pytest.raises(StoreUnavailable, match=r"no answer within 0.2 s.*timeout_seconds"):
            store.runs()


def test_an_unreachable_server_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # more than its queue holds
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        store = UconDB(settings(f"http://127.0.0.1:{address[1]}/x", timeout_seconds=0.3))

        with pytest.raises(StoreUnavailable, match=r"no answer within 0.3 s"):
            store.runs()
        for each in waiting:
            each.close()


def test_an_answer_that_comes_slowly_but_steadily_is_waited_for() -> None:
    limit = scaled(0.2)
    pieces = [b"HTTP/1.1 200 OK\r\nContent-Type: text/json\r\n\r\n[", *[b" "] * 60, b"]"]

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(65536)
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(limit / 50)  # each piece long before the limit, all of them together after it

        thread = threading.Thread(target=serve)
        thread.start()

        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        assert UconDB(settings(url, timeout_seconds=limit)).runs() == set()
        thread.join()


def test_after_a_reset_the_put_is_looked_up() -> None:
    """Linger 0 makes close a reset, as WebPie's full queue does (20 of 20 puts); a late reader sees its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asked: list[bytes] = []

        def serve() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                asked.append(client.recv(4))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()

        thread = threading.Thread(target=serve)
        thread.start()

        with pytest.raises(StoreUnavailable, match=r"reset by peer|without response") as caught:
            UconDB(settings(f"http://127.0.0.1:{listener.getsockname()[1]}/x")).put(7, b"blob" * 50_000)
        thread.join()

    assert asked == [b"POST", b"GET "]
    assert caught.value.transient


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server whose certificate nobody vouches for; its URL, and the certificate."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("not here: openssl")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        f"{openssl} req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
        " -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certificate.pem".split(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with canned(response("200 OK", b"[]"), context=context) as (url, _):
        yield url.replace("http://", "https://"), certificate


def test_a_self_signed_certificate_is_refused(tls_server: tuple[str, Path]) -> None:
    url, _ = tls_server

    with pytest.raises(StoreUnavailable, match=r"TLS certificate is not accepted: .*self.signed.*ucon_db.ca_bundle"):
        UconDB(settings(url)).runs()


def test_the_configured_authority_is_trusted(tls_server: tuple[str, Path]) -> None:
    url, certificate = tls_server

    assert UconDB(settings(url, ca_bundle=certificate)).runs() == set()


def test_only_an_explicit_setting_leaves_the_certificate_unchecked(
    tls_server: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls_server[1].with_name("none.pem")))

    assert UconDB(settings(tls_server[0], verify_tls=False)).runs() == set()


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/x", "http:///x", "http://127.0.0.1:port/x"])
def test_an_address_that_is_none_names_the_key_to_correct(url: str) -> None:
    with pytest.raises(StoreError, match="server_url") as caught:
        UconDB(settings(url)).runs()

    assert not caught.value.transient


def test_a_missing_ca_file_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="ca_bundle"):
        UconDB(settings("https://127.0.0.1:1/x", ca_bundle=tmp_path / "none.pem")).runs()


def test_an_error_page_becomes_one_short_line() -> None:
    page = b"<html><body><h3>Version of object o with key 1 already exists</h3>" + b"x" * 10_000
    with canned(response("500 No", page)) as (url, _):
        answer = requests.get(url, timeout=scaled(5))

    assert said_by(answer) == "Version of object o with key 1 already exists"
