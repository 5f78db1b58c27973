"""artdaqDB, the intermediate store: a directory, PostgreSQL, MongoDB, or artdaq's own tools."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rra_state.base.errors import ConfigError
from rra_state.stores.artdaqdb.base import ArtdaqDB
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.rebuild import Rebuilt, rebuild
from rra_state.stores.artdaqdb.ssh_reader import SshReader, how_to_rebuild
from rra_state.stores.artdaqdb.tool_runner import LocalTools, RemoteTools
from rra_state.stores.artdaqdb.tools import ToolsDB, loading

if TYPE_CHECKING:
    from rra_state.config.models import ArtdaqDBSection

_FILESYSTEM = "filesystemdb"


def open_store(section: ArtdaqDBSection) -> ArtdaqDB:
    """Open the store that `artdaq_db.database_uri` names. Raises ConfigError for an unknown kind of URI."""
    if section.use_tools:
        return _tools(section)
    if section.remote_host:
        raise ConfigError("artdaq_db.remote_host: only artdaq's tools run elsewhere", hint="set use_tools: true too")
    uri, schema = section.database_uri, _schema(section.fcl_conf_dir)
    scheme, separator, _ = uri.partition("://")
    if scheme == _FILESYSTEM:
        return FilesystemDB(Path(_path(uri)), schema=schema)
    if scheme in ("postgresql", "postgres"):
        from rra_state.stores.artdaqdb.postgres import PostgresDB  # noqa: PLC0415 - loading psycopg takes 0.2 s

        return PostgresDB(uri, schema=schema)
    if scheme == "mongodb":
        try:
            from rra_state.stores.artdaqdb.mongo import MongoDB  # noqa: PLC0415 - not every site has pymongo
        except ImportError as error:
            hint = "pip install pymongo, in the archiver's environment"
            raise ConfigError("artdaq_db.database_uri: its driver pymongo is not installed", hint=hint) from error
        return MongoDB(uri, schema=schema)
    named = f"{scheme}://" if separator else "a text without ://"  # which may hold a password
    hint = f"one of {_FILESYSTEM}://, postgresql://, postgres://, mongodb://"
    raise ConfigError(f"artdaq_db.database_uri: {named} is no kind of artdaqDB", hint=hint)


def directory_of(section: ArtdaqDBSection) -> Path | None:
    """The directory of the archive on this host; None if it is of another kind, or on another host."""
    if section.remote_host or not section.database_uri.startswith(f"{_FILESYSTEM}://"):
        return None
    return Path(_path(section.database_uri))


def _path(uri: str) -> str:
    path = uri.removeprefix(f"{_FILESYSTEM}://")
    if not path.startswith("/"):
        raise ConfigError(f"artdaq_db.database_uri: {uri} is not filesystemdb:///absolute/path")
    return path


def _tools(section: ArtdaqDBSection) -> ArtdaqDB:
    """A store that artdaq's tools write. It is read without the tools, so it must be a directory."""
    uri, host, limit = section.database_uri, section.remote_host, section.tools_timeout_seconds
    if not uri.startswith(f"{_FILESYSTEM}://"):
        raise ConfigError(
            "artdaq_db.use_tools: works with filesystemdb:// only, since the tools cannot list what they hold",
            hint="use_tools: false, or another database_uri",
        )
    path = _path(uri)
    if any(character in path for character in _EXPANDED):
        raise ConfigError(
            "artdaq_db.database_uri: artdaq's tools would expand the path or end at a blank in it",
            hint="choose a path of letters, digits, _, -, . and /",
        )
    schema, state = _schema(section.fcl_conf_dir), section.tools_state_dir
    if state is None:
        raise ConfigError("artdaq_db.tools_state_dir: must be set")
    if host is None:
        return ToolsDB(FilesystemDB(Path(path)), LocalTools(uri, section.tools_dir, limit), state, schema=schema)
    remote = RemoteTools(uri, host, section.tools_dir, limit)
    return ToolsDB(SshReader(remote, path, host), remote, state, schema=schema)


_EXPANDED = " \t\n$~()*?[]{}|&;<>\"'`\\"
"""What the tools' wordexp changes in a URI. Source: docs/design/artdaqdb.md, URI."""


def rebuild_index(section: ArtdaqDBSection) -> Rebuilt:
    """Rebuild the archive's indexes from its documents. Raises ConfigError, StoreError.

    Also with `use_tools`, between two loads: artdaq's own program deletes the indexes and writes a copy beside the
    archive.
    """
    if not section.database_uri.startswith(f"{_FILESYSTEM}://"):
        raise ConfigError("artdaq_db.database_uri: only a directory archive has an index to rebuild")
    path = _path(section.database_uri)
    if section.remote_host is not None:
        raise ConfigError("artdaq_db.remote_host: the index is on another host", hint=how_to_rebuild(path))
    state = section.tools_state_dir if section.use_tools else None
    with nullcontext() if state is None else loading(state).held():
        return rebuild(Path(path))


def _schema(directory: Path | None) -> bytes | None:
    if directory is None:
        return None
    try:
        return (directory / "schema.fcl").read_bytes()
    except OSError as error:
        raise ConfigError(
            f"artdaq_db.fcl_conf_dir: schema.fcl cannot be read: {error.strerror}",
            path=directory,
            hint="correct the directory, or remove the key",
        ) from error
