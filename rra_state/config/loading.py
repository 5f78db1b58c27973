"""Load the configuration: a YAML file becomes checked settings. The keys are in `models.py`.

References in values are expanded. No store is opened, and no file or directory is created.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic import SecretStr

from rra_state.base import permissions
from rra_state.base.errors import ConfigError
from rra_state.config.models import (
    App,
    AppFuzz,
    ArtdaqDBSection,
    Carbon,
    ConfigSection,
    Metrics,
    Reporting,
    SourceFiles,
    UconDBSection,
    Validation,
)
from rra_state.config.problems import explain, refuse_keys, refuse_repeated_keys
from rra_state.config.references import expand
from rra_state.records.convert import GENERATED

PASSWORD_VARIABLE = "UCONDB_PASSWORD"  # noqa: S105 - the variable's name
PASSWORD_CREDENTIAL = "ucondb_password"  # noqa: S105 - the credential's name


class Settings(ConfigSection):
    """One configuration file, expanded and checked."""

    app: App
    source_files: SourceFiles
    artdaq_db: ArtdaqDBSection
    ucon_db: UconDBSection
    validation: Validation = Validation()
    fhiclize_generate: tuple[str, ...] | None = None
    """Texts to convert (boot, settings, ...) and documents to make (RunHistory, RunHistory2). Absent: all."""
    app_fuzz: AppFuzz = AppFuzz()
    reporting: Reporting = Reporting()
    carbon: Carbon = Carbon()
    metrics: Metrics = Metrics()
    _path: Path = pydantic.PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The file that was loaded. Workers load it again, so that no secret is sent to them."""
        return self._path

    @pydantic.field_validator("fhiclize_generate", mode="before")
    @classmethod
    def _known_files(cls, value: Any) -> Any:
        """A list, or the table with `files` that the existing archiver's code also takes.

        `boot`, `boot.txt` and `boot.fcl` mean the same.
        Source: docs/design/run_records.md, Compatibility of fhiclize_generate.
        """
        files = value.get("files") if isinstance(value, dict) else value
        if files is None:
            return None
        if not isinstance(files, list | tuple):
            raise ValueError("must be a list such as [boot, metadata]")
        stems = {str(name).removesuffix(".fcl").removesuffix(".txt") for name in files}
        if unknown := sorted(stems.difference(GENERATED)):
            raise ValueError(f'"{unknown[0]}" is not known (choose from {", ".join(GENERATED)})')
        return tuple(sorted(stems))

    @pydantic.model_validator(mode="after")
    def _kept_apart(self) -> Settings:
        """Refuse files of the archiver among the run records, and two keys with the same file."""
        records = self.source_files.run_records_dir
        kept = {
            f"{name}.{key}": value
            for name, section in (("app", self.app), ("reporting", self.reporting), ("metrics", self.metrics))
            for key, value in section
            if isinstance(value, Path)
        }
        inside = next((name for name, path in kept.items() if path == records or records in path.parents), None)
        if inside:
            raise ValueError(f"{inside} must not lie in source_files.run_records_dir: records are only read")
        for first, second in combinations(kept, 2):
            if kept[first] == kept[second]:
                raise ValueError(f"{first} and {second} are the same file")
        return self


def load(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Read, expand and check a configuration file.

    Relative paths count from the file's directory. Raises ConfigError with file, line, key and the nearest known key.
    """
    try:
        path = Path(path).absolute()
    except FileNotFoundError as error:
        raise ConfigError("the current directory is gone", path=Path(path), hint="cd to one that is there") from error
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = "check path, owner and mode" if isinstance(error, OSError) else "save it as UTF-8"
        raise ConfigError(f"the configuration cannot be read: {reason}", path=path, hint=hint) from error
    try:
        loader = yaml.SafeLoader(text)
        tree = loader.get_single_node()
        refuse_repeated_keys(tree, path)
        mapping = tree and loader.construct_document(tree)
    except RecursionError as error:
        raise ConfigError("not YAML: it is nested too deeply", path=path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        raise ConfigError(f"not YAML: {problem}", path=path, line=mark and mark.line + 1) from error
    except (TypeError, ValueError) as error:  # a list as a key, the 30th of February
        raise ConfigError(f"not YAML: {error}", path=path) from error
    if tree is None or not isinstance(mapping, dict):
        raise ConfigError("holds no sections such as app:", path=path, hint="start from config/config.yaml")
    return _checked(mapping, tree, path, environ)


def _checked(mapping: dict[str, Any], tree: yaml.Node, path: Path, environ: Mapping[str, str]) -> Settings:
    given = _with_values(mapping)
    refuse_keys("extra_forbidden", given, Settings, tree, path)
    try:
        expanded = expand(_with_default_paths(given), environ, path)
    except ConfigError:
        refuse_keys("missing", given, Settings, tree, path)
        raise
    try:
        settings = Settings.model_validate(expanded, context=path.parent)
    except pydantic.ValidationError as error:
        raise explain(error, Settings, tree, path) from error
    settings._path = path
    return _with_password(_for_tools(settings), environ)


def _with_values(mapping: dict[str, Any]) -> dict[str, Any]:
    """The mapping without the keys that have no value."""
    return {
        key: _with_values(value) if isinstance(value, dict) else value
        for key, value in mapping.items()
        if value is not None
    }


def _with_default_paths(mapping: dict[str, Any]) -> dict[str, Any]:
    """Write those defaults of `app` that refer to other keys into the mapping, so that they are expanded too."""
    app = mapping.get("app")
    if not isinstance(app, dict) or not app.get("work_dir"):
        return mapping  # pydantic names the missing key
    defaults = {name: str(field.default) for name, field in App.model_fields.items() if "${" in str(field.default)}
    return {**mapping, "app": {**defaults, **app}}


def _for_tools(settings: Settings) -> Settings:
    """Adapt other settings to artdaq's tools: the directory of notes about loads, and how a bad `.fcl` file is handled.

    Such a file is passed to the store as text, and the store fails its run: its message says what can be done.
    """
    section = settings.artdaq_db
    if not section.use_tools:
        return settings
    state = section.tools_state_dir or settings.app.work_dir / "state" / "artdaq_tools"
    return settings.model_copy(
        update={
            "artdaq_db": section.model_copy(update={"tools_state_dir": state}),
            "source_files": settings.source_files.model_copy(update={"on_bad_file": "keep_text"}),
        }
    )


def _with_password(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Fill in an absent UconDB password: file, variable, then systemd credential. Raises ConfigError."""
    section = settings.ucon_db
    password = section.writer_password.get_secret_value()
    if not password and section.writer_password_file is not None:
        password = _first_line(section.writer_password_file, settings.path, private=True)
    elif not password:
        credentials = Path(environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / PASSWORD_CREDENTIAL
        password = environ.get(PASSWORD_VARIABLE, "")
        if not password and credentials.is_file():
            password = _first_line(credentials, settings.path, private=False)
    try:
        password.encode()
    except UnicodeEncodeError:  # a variable may hold any bytes
        hint = f"correct {PASSWORD_VARIABLE}"
        raise ConfigError("the UconDB password is not UTF-8 text", path=settings.path, hint=hint) from None
    filled = section.model_copy(update={"writer_password": SecretStr(password)})
    return settings.model_copy(update={"ucon_db": filled})


def _first_line(file: Path, config: Path, *, private: bool) -> str:
    """The first line of a password file. private: refuse a file that other accounts may read. Raises ConfigError."""
    try:
        exposed = private and permissions.exposed(file)
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = (error.strerror or "").lower() if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = "correct its path, owner or mode"
        raise ConfigError(f"the password file {file} cannot be read: {reason}", path=config, hint=hint) from error
    if exposed:
        message = f"the password file {file} can be read by other accounts"
        raise ConfigError(message, path=config, hint=f"chmod 600 {file}")
    return text.split("\n", 1)[0].rstrip("\r")
