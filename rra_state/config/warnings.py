"""Warnings about risky settings, shown by every cycle and by `--check`. Only reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import yaml

from rra_state.base import permissions
from rra_state.config.loading import Settings

_FROM_ELSEWHERE = re.compile(r"\$\{[^}:]*\}")


def cautions(settings: Settings) -> Iterator[str]:
    """One sentence per risky setting."""
    email, fuzz = settings.reporting.email, settings.app_fuzz
    if not settings.ucon_db.verify_tls and settings.ucon_db.server_url.startswith("https:"):
        yield "ucon_db.verify_tls is off: the server's certificate is not checked"
    if email.enabled and not email.verify_tls:
        yield "reporting.email.verify_tls is off: the mail server's certificate is not checked"
    if fuzz.random_skip_percent or fuzz.random_error_percent:
        yield "app_fuzz is on: runs are skipped and failed on purpose"
    if (key := _exposed_key(settings)) is not None:
        path = settings.path
        advice = f"chmod 600 {path}, or keep the secret elsewhere"
        yield f"{path} holds a secret ({key}) and can be read by other accounts ({advice})"


def _exposed_key(settings: Settings) -> str | None:
    """The key of a secret that other accounts of this host can read in the configuration."""
    try:
        if not permissions.exposed(settings.path):
            return None
        mapping = yaml.safe_load(settings.path.read_bytes())
    except (OSError, yaml.YAMLError):
        return None  # it was readable when it was loaded; the next cycle names what is wrong
    return next(_secrets(mapping, ""), None)


def _secrets(value: Any, key: str) -> Iterator[str]:
    """The keys whose value is a secret itself, not a reference to a variable."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _secrets(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for each in value:
            yield from _secrets(each, key)
    elif isinstance(value, str) and _is_secret(key, _FROM_ELSEWHERE.sub("", value)):
        yield key


def _is_secret(key: str, value: str) -> bool:
    last = key.rpartition(".")[2]
    if not value:
        return False
    if key == "reporting.urls" or (("password" in last or "token" in last) and not last.endswith("_file")):
        return True
    try:
        return last in ("database_uri", "server_url") and bool(urlsplit(value).password)
    except ValueError:
        return False
