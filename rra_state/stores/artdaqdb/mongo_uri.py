"""A MongoDB URI becomes a client. Takes libmongoc's old option names, as artdaq's tools do. Connects to nothing."""

from __future__ import annotations

from typing import Any, TypeAlias

import pymongo
import pymongo.errors as driver
from pymongo.uri_parser import parse_uri, split_options

from rra_state.base.errors import ConfigError
from rra_state.stores.artdaqdb.document import Tree

Client: TypeAlias = "pymongo.MongoClient[Tree]"

_LIMITS = {"serverSelectionTimeoutMS": 10_000, "connectTimeoutMS": 10_000, "socketTimeoutMS": 60_000}
_OLD_NAMES = {
    "sslclientcertificatekeyfile": "tlsCertificateKeyFile",
    "sslclientcertificatekeypassword": "tlsCertificateKeyFilePassword",
    "sslcertificateauthorityfile": "tlsCAFile",
    "sslallowinvalidcertificates": "tlsAllowInvalidCertificates",
    "sslallowinvalidhostnames": "tlsAllowInvalidHostnames",
}
"""libmongoc's names of before 2019, and those of today. Source: libmongoc, mongoc_uri_t, TLS Options."""
_IGNORED = ("serverselectiontryonce", "socketcheckintervalms")
"""Options by which libmongoc tunes its own way to look for servers; pymongo has another way."""
_KEY = "artdaq_db.database_uri"
_HINT = "mongodb://user@host:27017/database; @ : / and % in a user or password are written %40 %3A %2F %25"


def connect(uri: str) -> tuple[Client, str]:
    """A client that is not connected yet, and the name of the database. Raises ConfigError, without a secret."""
    uri = _with_todays_names(uri)
    limits: dict[str, Any] = {name: value for name, value in _LIMITS.items() if name.lower() not in uri.lower()}
    try:
        name = parse_uri(uri)["database"]
        if not name:
            raise ValueError("no database")
        return pymongo.MongoClient(uri, appname="run-record-archiver", **limits), name
    except (driver.PyMongoError, ValueError, OSError):
        # without the driver's message, which may contain the password
        raise ConfigError(f"{_KEY}: not a MongoDB URI with a database", hint=_HINT) from None


def servers_of(uri: str) -> list[Client]:
    """A client for each server that the URI names, connected to this one only, whatever its replica set and role."""
    parsed = parse_uri(_with_todays_names(uri))
    kept = {name: value for name, value in parsed["options"].items() if name.lower().startswith("tls")}
    alone: dict[str, Any] = {"directConnection": True, "serverSelectionTimeoutMS": 2000, "connectTimeoutMS": 2000}
    return [pymongo.MongoClient(host, port, **alone, **kept) for host, port in parsed["nodelist"]]


def set_name(uri: str) -> str | None:
    """The replica set that the URI asks for."""
    name: str | None = parse_uri(_with_todays_names(uri))["options"].get("replicaSet")
    return name


def without_secrets(uri: str) -> str:
    """The URI without user, password and options, for commands that a person is to type."""
    hosts, slash, database = uri.partition("://")[2].partition("?")[0].rpartition("@")[2].partition("/")
    return f"mongodb://{hosts}{slash}{database}"


def _with_todays_names(uri: str) -> str:
    """The URI with libmongoc's old names replaced. Raises ConfigError for an option that pymongo does not take."""
    base, mark, query = uri.partition("?")
    if not mark or "@" in query:  # a password with `?` in it: the driver refuses it, and no part may be shown
        return uri
    options = [pair for pair in query.replace(";", "&").split("&") if pair]
    taken = []
    for given, equals, value in (pair.partition("=") for pair in options):
        if given.lower() in _IGNORED:
            continue
        name = _OLD_NAMES.get(given.lower(), given)
        _check(name, f"{name}{equals}{value}", value)
        taken.append(f"{name}{equals}{value}")
    return f"{base}?{'&'.join(taken)}" if taken else base


def _check(name: str, option: str, value: str) -> None:
    try:
        split_options(option, validate=True, warn=False)
    except OSError as error:
        raise ConfigError(f"{_KEY}: {name}={value} cannot be read", hint="correct the path") from error
    except driver.ConfigurationError:
        raise ConfigError(f"{_KEY}: pymongo does not know the option {name}", hint="correct or remove it") from None
    except (driver.PyMongoError, ValueError):
        raise ConfigError(f"{_KEY}: the option {name} has a value that it cannot have", hint="correct it") from None
