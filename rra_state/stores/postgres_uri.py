"""Take a `postgresql://` URI apart, and never show it: it may hold a password."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from rra_state.base.errors import ConfigError

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
