"""artdaqDB, the intermediate store, in the forms sites run it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rra_state.errors import ConfigError
from rra_state.stores.artdaqdb.base import ArtdaqDB
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.rebuild import Rebuilt, rebuild

if TYPE_CHECKING:
    from rra_state.sections import ArtdaqDBSection

_SCHEME = "filesystemdb://"


def open_store(section: ArtdaqDBSection) -> ArtdaqDB:
    """The store that `artdaq_db.database_uri` names. Raises ConfigError for a form this version does not have."""
    uri = section.database_uri
    if not uri.startswith(_SCHEME) or not uri.removeprefix(_SCHEME).startswith("/"):
        raise ConfigError(f"artdaq_db.database_uri: {_without_password(uri)} is not filesystemdb:///absolute/path")
    if section.remote_host:
        raise ConfigError("artdaq_db.remote_host: this version stores on the host it runs on", hint="remove the key")
    return FilesystemDB(Path(uri.removeprefix(_SCHEME)), schema=_schema(section.fcl_conf_dir))


def rebuild_index(section: ArtdaqDBSection) -> Rebuilt:
    """Make the archive's indexes anew from its documents. Raises ConfigError, StoreError."""
    store = open_store(section)
    if not isinstance(store, FilesystemDB):
        raise ConfigError("artdaq_db.database_uri: only a directory archive has an index to rebuild")
    return rebuild(store.path)


def _schema(directory: Path | None) -> bytes | None:
    if directory is None:
        return None
    try:
        return (directory / "schema.fcl").read_bytes()
    except OSError as error:
        raise ConfigError(
            f"artdaq_db.fcl_conf_dir: schema.fcl cannot be read: {error.strerror}", path=directory
        ) from error


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
