"""Digest headers against the examples of the RFCs and the oddities of the server."""

from __future__ import annotations

import pytest

from rra_state.stores.ucondb.digest import Digest, UnsupportedChallenge

PASSWORD = "unguessable-4711"
RFC2617 = (
    'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc"'
)


def test_digest_is_that_of_the_example_in_rfc_2617() -> None:
    digest = Digest.challenged(RFC2617)

    header = digest.header("GET", "/dir/index.html", "Mufasa", "Circle Of Life", cnonce="0a4f113b")

    assert 'response="6629fae49393a05397450978507c4ef1"' in header
    assert 'opaque="5ccc"' in header


def test_digest_matches_the_sha_256_example_of_rfc_7616() -> None:
    digest = Digest.challenged(
        'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, '
        'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"'
    )

    header = digest.header(
        "GET", "/dir/index.html", "Mufasa", "Circle of Life", cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    )

    assert "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1" in header


def test_a_digest_has_all_that_the_server_insists_on() -> None:
    header = Digest("public.run_records", "theirs").header("POST", "/data/f/o?key=1", "archiver", PASSWORD)

    for part in ('realm="public.run_records"', 'uri="/data/f/o?key=1"', "qop=auth", "nc=00000001", "cnonce=", "nonce="):
        assert part in header
    assert PASSWORD not in header


def test_each_use_of_a_nonce_is_counted() -> None:
    digest = Digest("r", "theirs")

    headers = [digest.header("POST", "/", "u", "p") for _ in range(11)]

    assert "nc=0000000b" in headers[-1]


def test_a_comma_never_gets_into_the_digest_uri() -> None:
    with pytest.raises(ValueError, match="%2C"):
        Digest("r", "theirs").header("POST", "/a,b", "u", "p")


@pytest.mark.parametrize(
    "challenge", ['Basic realm="x"', "Digest", 'Digest realm="x", nonce="y", algorithm=SHA-512, qop="auth"']
)
def test_a_challenge_that_cannot_be_met_is_said_so(challenge: str) -> None:
    with pytest.raises(UnsupportedChallenge):
        Digest.challenged(challenge)
