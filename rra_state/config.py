"""The configuration: models of every section, and how a YAML file becomes them.

The models are the single source of the JSON schema and of the key table in config/README.md. Values are expanded here;
nothing is opened, connected or created.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from rra_state.config_errors import explain, refuse_repeated_keys
from rra_state.errors import ConfigError
from rra_state.expansion import expand
from rra_state.records import convert

PASSWORD_VARIABLE = "UCONDB_PASSWORD"  # noqa: S105 - the variable's name
PASSWORD_CREDENTIAL = "ucondb_password"  # noqa: S105 - the credential's name

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Section(BaseModel):
    """What all sections share: no unknown key, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _absent(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """A key without a value, or with an empty one where none is allowed, counts as left out.

        An empty path would be the current directory: it is never what was meant.
        """
        field = cls.model_fields[info.field_name or ""]
        optional = not field.is_required() and field.default is None
        if not field.is_required() and (value is None or (value == "" and optional)):
            return field.get_default(call_default_factory=True)
        if value == "" and field.annotation is Path:
            raise ValueError("must not be empty")
        return value


class App(Section):
    """Where the archiver keeps its knowledge, and how hard it works."""

    work_dir: Path
    """Directory of markers, failure records, state files and logs. Created if missing."""
    import_state_file: Path = Path("${work_dir}/importer_state.json")
    """State of the import stage (two integers, see docs/state.md)."""
    import_failure_log: Path = Path("${work_dir}/import_failures.log")
    """Runs that are not in artdaqDB and should be, one number per line."""
    migrate_state_file: Path = Path("${work_dir}/migrator_state.json")
    """State of the migration stage."""
    migrate_failure_log: Path = Path("${work_dir}/migrate_failures.log")
    """Runs that are not in UconDB and should be, one number per line."""
    lock_file: Path = Path("${work_dir}/.archiver.lock")
    """Lock of the running instance, with its process id inside."""
    batch_size: Annotated[int, Field(ge=1)] | None = None
    """Runs taken per stage and execution, tenfold in full mode. Absent: no limit."""
    parallel_workers: Annotated[int, Field(ge=1)] | None = None
    """Worker processes. Absent: one per core."""
    run_process_retries: Annotated[int, Field(ge=0)] = 2
    """Further tries of a run after a fault that may pass by itself."""
    retry_delay_seconds: Seconds = 3
    """Seconds between two tries of a run."""
    window_size: Annotated[int, Field(ge=1, le=5000)] = 2000
    """Runs that one Snakemake process handles; the command line goes on with the next window by itself."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least important message that goes to the log file."""
    log_file: Path | None = None
    """Log file, rotated at 500 MB or 14 days with five backups. Absent: none."""

    @pydantic.field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


class SourceFiles(Section):
    """The run records as the DAQ leaves them."""

    run_records_dir: Path
    """Directory with one sub directory per run. Only read."""
    settle_seconds: Seconds = 3600
    """A record without a stop time is taken once nothing in it changed for so many seconds."""
    on_bad_file: Literal["keep_text", "fail"] = "keep_text"
    """A .fcl file that is not FHiCL: keep its bytes as text and say so, or fail the run."""
    max_file_bytes: Annotated[int, Field(ge=1)] = 64 * 2**20
    """A larger file fails its run."""
    max_record_bytes: Annotated[int, Field(ge=1)] = 512 * 2**20
    """A larger record fails its run."""


class ArtdaqDBSection(Section):
    """The intermediate store."""

    database_uri: str
    """`filesystemdb:///path` of the artdaqDB archive."""
    fcl_conf_dir: Path | None = None
    """Directory with schema.fcl, stored with every run. Absent: none is stored."""
    use_tools: bool = False
    """Use artdaq's bulkloader. This version writes the same archive itself, and says so when this is true."""
    remote_host: str | None = None
    """Host on which artdaq's tools run. Not supported by this version."""


class UconDBSection(Section):
    """The permanent store."""

    server_url: str
    """URL of the UconDB application, such as `https://host:9443/sbnd_on_ucon_prod/app`."""
    folder_name: str
    """Folder the blobs go to."""
    object_name: str = "configuration"
    """Object in that folder; the key is the run number."""
    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30
    """Longest wait for an answer."""
    writer_user: str = ""
    """User allowed to write."""
    writer_password: SecretStr = SecretStr("")
    """Password. Better: the variable UCONDB_PASSWORD, a file, or the systemd credential `ucondb_password`."""
    writer_password_file: Path | None = None
    """File whose first line is the password."""
    verify_tls: bool = True
    """Check the server's certificate. Switching it off is told in every cycle."""
    ca_bundle: Path | None = None
    """Certificates to trust instead of the system's."""

    @pydantic.field_validator("server_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        parts = urlsplit(value)  # raises ValueError itself for some
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be a URL such as https://host:9443/sbnd_on_ucon_prod/app")
        return value


class Validation(Section):
    """What `--validate` looks for in each blob."""

    metadata_keys: tuple[str, ...] = ("components", "config_name", "sbndaq_commit_or_version")
    """Keys that metadata.fcl must hold exactly once, with a value."""


class AppFuzz(Section):
    """Deliberate faults, for tests of the existing archiver. Read; this version makes none and says so."""

    random_skip_percent: Percent = 0
    """Share of runs to skip."""
    random_skip_retry: bool = False
    """Whether a skipped run is skipped again in a retry."""
    random_error_percent: Percent = 0
    """Share of runs to fail."""
    random_error_retry: bool = False
    """Whether a failed run fails again in a retry."""


class Email(Section):
    """Mail about a cycle. Read, not acted on by this version."""

    enabled: bool = False
    """Send mail."""
    recipient_email: str | list[str] = ""
    """Who gets it."""
    sender_email: str = ""
    """Who sends it."""
    smtp_host: str = "localhost"
    """Mail server."""
    smtp_port: int = 25
    """Its port."""
    smtp_use_tls: bool = False
    """Use STARTTLS."""
    smtp_user: str | None = None
    """User at the mail server."""
    smtp_password: SecretStr | None = None
    """Password at the mail server."""


class Slack(Section):
    """Slack message about a cycle. Read, not acted on by this version."""

    enabled: bool = False
    """Send messages."""
    bot_token: SecretStr = SecretStr("")
    """Token of the bot."""
    channel: str = ""
    """Channel."""
    mention_users: str | list[str] = Field(default_factory=list)
    """Users to mention."""


class Reporting(Section):
    """Who is told."""

    email: Email = Email()
    """Mail."""
    slack: Slack = Slack()
    """Slack."""


class Carbon(Section):
    """Metrics for Graphite. Read, not acted on by this version."""

    enabled: bool = False
    """Send metrics."""
    host: str = "localhost"
    """Carbon host."""
    port: int = 2003
    """Its port."""
    metric_prefix: str = "run_record_archiver"
    """First part of every metric's name."""


class Settings(Section):
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
    _path: Path = pydantic.PrivateAttr(default=Path())

    @property
    def path(self) -> Path:
        """The file this came from; workers load it again, so that no secret travels."""
        return self._path

    @pydantic.field_validator("fhiclize_generate", mode="before")
    @classmethod
    def _known_files(cls, value: Any) -> Any:
        """A list, or the table with `files` that the existing archiver's code also takes (spec/run_records.md 4.15)."""
        files = value.get("files") if isinstance(value, dict) else value
        if files is None:
            return None
        if not isinstance(files, list | tuple):
            raise ValueError("must be a list such as [boot, metadata]")
        try:
            return tuple(sorted(convert.selection(map(str, files))))
        except ConfigError as error:
            raise ValueError(str(error).removeprefix("fhiclize_generate: ")) from error

    @pydantic.model_validator(mode="after")
    def _kept_apart(self) -> Settings:
        """Nothing of ours lies among the run records, and no two files are one."""
        records = self.source_files.run_records_dir
        kept = {name: value for name, value in self.app if isinstance(value, Path)}
        inside = next((name for name, path in kept.items() if path == records or records in path.parents), None)
        if inside:
            raise ValueError(f"app.{inside} must not lie in source_files.run_records_dir: records are only read")
        for first, second in combinations(kept, 2):
            if kept[first] == kept[second]:
                raise ValueError(f"app.{first} and app.{second} are the same file")
        return self


def load(path: str | os.PathLike[str], environ: Mapping[str, str] = os.environ) -> Settings:
    """Read, expand and check a configuration file.

    Relative paths count from the file's directory. Raises ConfigError with file, line, key and the nearest known key.
    """
    path = Path(path).absolute()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"the configuration cannot be read: {reason}", path=path) from error
    try:
        refuse_repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader), path)
        mapping = yaml.safe_load(text)
    except RecursionError as error:
        raise ConfigError("not YAML: it is nested too deeply", path=path) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be parsed"
        raise ConfigError(f"not YAML: {problem}", path=path, line=mark and mark.line + 1) from error
    if not isinstance(mapping, dict):
        raise ConfigError("holds no sections such as app:", path=path, hint="start from config/config.yaml")
    return _checked(mapping, text, path, environ)


def _checked(mapping: dict[str, Any], text: str, path: Path, environ: Mapping[str, str]) -> Settings:
    filled = _with_default_paths({key: value for key, value in mapping.items() if value is not None})
    try:
        settings = Settings.model_validate(_anchored(expand(filled, environ, path), path.parent))
    except pydantic.ValidationError as error:
        raise explain(error, Settings, text, path) from error
    settings._path = path
    return _with_password(settings, environ)


def _with_default_paths(mapping: dict[str, Any]) -> dict[str, Any]:
    """Write those defaults of `app` that refer to other keys into the mapping, so that they are expanded too."""
    app = mapping.get("app")
    if not isinstance(app, dict) or not app.get("work_dir"):
        return mapping  # what is missing is told when the rest is checked
    defaults = {name: str(field.default) for name, field in App.model_fields.items() if "${" in str(field.default)}
    given = {key: value for key, value in app.items() if value is not None}
    return {**mapping, "app": {**defaults, **given}}


def _anchored(mapping: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Make the values of path keys absolute, counting from `directory`."""
    result = dict(mapping)
    for section, field in Settings.model_fields.items():
        values = mapping.get(section)
        if isinstance(values, dict) and isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            result[section] = {
                key: os.path.join(directory, os.path.expanduser(value))  # noqa: PTH111, PTH118 - an unknown ~name stays
                if key in field.annotation.model_fields
                and "Path" in str(field.annotation.model_fields[key].annotation)
                and isinstance(value, str)
                and value
                else value
                for key, value in values.items()
            }
    return result


def _with_password(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """Fill in an absent UconDB password: file, variable, then systemd credential. Raises ConfigError."""
    section = settings.ucon_db
    if section.writer_password.get_secret_value():
        return settings
    credentials = Path(environ.get("CREDENTIALS_DIRECTORY", "/nonexistent")) / PASSWORD_CREDENTIAL
    if section.writer_password_file is not None:
        password = _first_line(section.writer_password_file, settings.path)
    elif environ.get(PASSWORD_VARIABLE):
        password = environ[PASSWORD_VARIABLE]
    elif credentials.is_file():
        password = _first_line(credentials, settings.path)
    else:
        return settings
    filled = section.model_copy(update={"writer_password": SecretStr(password)})
    changed = settings.model_copy(update={"ucon_db": filled})
    changed._path = settings.path
    return changed


def _first_line(file: Path, config: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeError) as error:
        reason = (error.strerror or "").lower() if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"the password's file {file} cannot be read: {reason}", path=config) from error
