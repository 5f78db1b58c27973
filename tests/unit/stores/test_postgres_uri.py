"""What a driver's error says in one line."""

from __future__ import annotations

import psycopg
import pytest

from rra_state.stores.postgres_uri import reason

ATTEMPT = 'connection to server at "daq1" (10.0.0.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        (
            f"connection failed: {ATTEMPT}Connection refused\n\tIs the server running on that host and accepting"
            " TCP/IP connections?",
            "connection refused",
        ),
        (f"{ATTEMPT}timeout expired\n{ATTEMPT}No route to host\n\tIs the server running?", "no route to host"),
        (f'{ATTEMPT}FATAL:  database "x" does not exist', 'database "x" does not exist'),
        ("failed to resolve host 'daq1': [Errno -2] Name or service not known", None),
        (
            "consuming input failed: server closed the connection unexpectedly\n\tThis probably means the server"
            " terminated abnormally\n\tbefore or while processing the request.",
            "consuming input failed: server closed the connection unexpectedly",
        ),
        ("", "no reason given"),
    ],
)
def test_case_b14_the_reason_is_not_libpqs_question(said: str, plain: str | None) -> None:
    assert reason(psycopg.OperationalError(said)) == (
        plain or "failed to resolve host 'daq1': Name or service not known"
    )
