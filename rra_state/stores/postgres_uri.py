"""Parse a `postgresql://` URI without showing it (it may hold a password); shorten a driver's error to one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from rra_state.base.errors import ConfigError

_AROUND = re.compile(r"^(?:.*?connection to server (?:at|on) .*? failed: |connection failed: )?(?:FATAL: +)?")
_NUMBER = re.compile(r"\[Errno -?[0-9]+\] ")
_HINT = "postgresql://user@host:5432/database; @ : / and % in a user or password are written %40 %3A %2F %25"


def parts(uri: str, key: str) -> Mapping[str, Any]:
    """The parts of the URI. key: its name in the configuration.

    Raises ConfigError, without libpq's message, which quotes the URI. libpq accepts an unescaped @ or / in a password
    and takes the rest for the host or database: refused here.
    """
    try:
        found = conninfo_to_dict(uri)
    except psycopg.ProgrammingError:
        found = None
    if (
        found is None
        or "@" in f"{found.get('host')}{found.get('dbname')}"
        or re.search(r"[^\d,]", str(found.get("port") or ""))
    ):
        raise ConfigError(f"{key}: not a PostgreSQL URI", hint=_HINT)
    return found


def reason(error: psycopg.Error) -> str:
    """What the driver says, in one line: without the address, which the message names, and libpq's own guesses.

    Guesses are in lines that begin with a blank, such as "Is the server running on that host?". Of several attempts
    the last one counts.
    """
    said = error.diag.message_primary or str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line[0].isspace()] or [
        "no reason given"
    ]
    plain = _NUMBER.sub("", _AROUND.sub("", lines[-1]))
    return plain[0].lower() + plain[1:]
