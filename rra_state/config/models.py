"""The sections of the configuration: one model each, every key with type, default and meaning.

They are the single source of the JSON schema and of the key table in config/README.md. `loading.py` reads a file into
them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import pydantic
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from rra_state.records.blob import METADATA_KEYS

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
Percent = Annotated[float, Field(ge=0, le=100)]


class ConfigSection(BaseModel):
    """Base of all sections: no unknown key, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _given(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Treat a key without a value, or with an empty one where None is allowed, as left out; make paths absolute.

        Relative paths count from the directory that is the context of the validation. An empty path is refused.
        """
        field = cls.model_fields[info.field_name or ""]
        optional = not field.is_required() and field.default is None
        if not field.is_required() and (value is None or (value == "" and optional)):
            return field.get_default(call_default_factory=True)
        if field.annotation in (Path, Path | None) and isinstance(value, str):
            if not value:
                raise ValueError("must not be empty")
            return os.path.join(info.context or "", os.path.expanduser(value))  # noqa: PTH111, PTH118 - an unknown ~name stays
        return value


class App(ConfigSection):
    """The archiver's own files, and how much it does at once."""

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
    worker_memory_bytes: Annotated[int, Field(ge=512 * 2**20)] = 2 * 2**30
    """Address space that a worker process may take. A record that needs more fails its run, and no other."""
    workers: Annotated[str, Field(pattern=r"^dask://[^/\s]+:[0-9]+$")] | None = None
    """`dask://HOST:8786`: chunks run on the workers of a Dask cluster (docs/scale.md). Absent: on this machine."""
    run_process_retries: Annotated[int, Field(ge=0)] = 2
    """Further tries of a run after an error that may pass by itself."""
    retry_delay_seconds: Seconds = 3
    """Seconds between two tries of a run."""
    verify_per_cycle: Annotated[int, Field(ge=0)] = 200
    """Runs that were not compared yet, read back and compared at the end of a cycle at most. 0: none."""
    window_size: Annotated[int, Field(ge=1, le=5000)] = 2000
    """Runs that one Snakemake process handles; the command line starts one process after another."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least important message that goes to the log file."""
    log_file: Path | None = None
    """Log file, rotated at 500 MB or 14 days with five backups; `/dev/stdout` or a FIFO is not. Absent: none."""

    @pydantic.field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value


class SourceFiles(ConfigSection):
    """The run records as the DAQ leaves them."""

    run_records_dir: Path
    """Directory with one sub directory per run. Only read."""
    quiet_seconds: Seconds = 60
    """A record that lacks nothing is taken once nothing in it changed for so many seconds. Files may be coming."""
    settle_seconds: Seconds = 3600
    """The same for a record without a stop time, or that lacks files or text that every record has."""
    watch_days: Annotated[float, Field(ge=0, le=36500, allow_inf_nan=False)] = 7
    """Days after its import in which a record that changes is archived again; longer while it has no stop time.

    0: only while it has none.
    """
    on_bad_file: Literal["keep_text", "fail"] = "keep_text"
    """A .fcl file that is not FHiCL: keep its bytes as text and say so, or fail the run."""
    max_file_bytes: Annotated[int, Field(ge=1)] = 64 * 2**20
    """A larger `.fcl` file or text fails its run."""
    max_other_file_bytes: Annotated[int, Field(ge=0)] = 2**20
    """A larger file of any other kind is not archived; its run is, with a remark."""
    max_record_bytes: Annotated[int, Field(ge=1)] = 512 * 2**20
    """A larger record fails its run."""
    max_record_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 600
    """A record that takes longer to read and convert fails its run."""


class ArtdaqDBSection(ConfigSection):
    """The intermediate store."""

    database_uri: str
    """Where the artdaqDB archive is: `filesystemdb:///path`, or another kind of store (docs/stores.md)."""
    fcl_conf_dir: Path | None = None
    """Directory with schema.fcl, stored with every run. Absent: none is stored."""
    use_tools: bool = False
    """Have artdaq's bulkloader write the archive, and read every run back (docs/stores.md). Slower, and FHiCL only."""
    tools_dir: Path | None = None
    """Directory with bulkloader and bulkdownloader. Absent: PATH."""
    tools_timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300
    """Longest time for one call of a tool."""
    tools_state_dir: Path | None = None
    """Directory for notes about loads in progress. Absent: `state/artdaq_tools` in app.work_dir."""
    remote_host: str | None = None
    """Host on which artdaq's tools run and the archive is, reached by ssh without a password. Absent: this one."""


class UconDBSection(ConfigSection):
    """The permanent store."""

    server_url: str
    """URL of the UconDB application, such as `https://host:9443/sbnd_on_ucon_prod/app`."""
    folder_name: str
    """Folder the blobs go to. One outside the server's own namespace as `NAMESPACE.FOLDER`."""
    object_name: str = "configuration"
    """Object in that folder; the key is the run number."""
    include_originals: bool = False
    """Put the seven texts into the blob as the DAQ wrote them, too: `--restore` then needs UconDB only. Recommended."""
    timeout_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30
    """Longest wait for a connection, and then for the next part of an answer."""
    max_connections: Annotated[int, Field(ge=1)] = 4
    """Requests under way at once, over all worker processes. The server handles one at a time, and refuses too many."""
    database_uri: SecretStr | None = None
    """`postgresql://reader@host/database` of UconDB itself: lists and verifies by SQL, read only. Absent: by REST."""
    writer_user: str = ""
    """User allowed to write."""
    writer_password: SecretStr = SecretStr("")
    """Password. Better: the variable UCONDB_PASSWORD, a file, or the systemd credential `ucondb_password`."""
    writer_password_file: Path | None = None
    """File whose first line is the password. Refused if others may read it."""
    verify_tls: bool = True
    """Check the server's certificate. Every cycle warns if it is off."""
    ca_bundle: Path | None = None
    """Certificates to trust instead of those of the host's trust store."""

    @pydantic.field_validator("server_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            whole = parts.hostname and parts.port != 0 and not parts.query and not parts.fragment
        except ValueError:  # its text may show a password
            whole = False
        if not whole or parts.scheme not in ("http", "https") or any(map(str.isspace, value)):
            raise ValueError("must be a URL such as https://host:9443/sbnd_on_ucon_prod/app")
        return value


class Validation(ConfigSection):
    """What `--validate` looks for in each blob."""

    metadata_keys: tuple[str, ...] = METADATA_KEYS
    """Keys that metadata.fcl must hold exactly once, with a value."""


class AppFuzz(ConfigSection):
    """Fault injection for tests of a site. Nothing is damaged; every cycle warns while it is on."""

    random_skip_percent: Percent = 0
    """Share of tries that are skipped: no failure is noted, and the next cycle takes the run."""
    random_skip_retry: bool = False
    """True: a skipped run is not tried again in this execution."""
    random_error_percent: Percent = 0
    """Share of tries that fail: the run goes to the failure log like any other."""
    random_error_retry: bool = False
    """True: a failed run is not tried again in this execution."""


class Email(ConfigSection):
    """Mail when something needs a person, and when that is over."""

    enabled: bool = False
    """Send mail."""
    recipient_email: str | list[str] = ""
    """Recipients: one address, several with commas, or a list."""
    sender_email: str = ""
    """Sender's address. Absent: run-record-archiver at this host."""
    smtp_host: str = "localhost"
    """Mail server."""
    smtp_port: Port = 25
    """Its port. 465 means TLS from the first byte."""
    smtp_use_tls: bool = False
    """Use STARTTLS."""
    smtp_user: str | None = None
    """User at the mail server. Absent: no login."""
    smtp_password: SecretStr | None = None
    """Password at the mail server."""
    verify_tls: bool = True
    """Check the mail server's certificate."""

    @property
    def recipients(self) -> list[str]:
        """Every address."""
        return _listed(self.recipient_email)

    @pydantic.model_validator(mode="after")
    def _complete(self) -> Email:
        if self.enabled and not self.recipients:
            raise ValueError("recipient_email must hold an address while mail is enabled")
        return self


class Slack(ConfigSection):
    """The same as a message in Slack."""

    enabled: bool = False
    """Send messages."""
    bot_token: SecretStr = SecretStr("")
    """Token of the bot, `xoxb-...`."""
    channel: str = ""
    """Channel, such as `#daq-alerts`, or several with commas. The bot has to be a member."""
    mention_users: str | list[str] = Field(default_factory=list)
    """Users to mention in messages about an error, by their ids such as `U6TTX1F9R`."""

    @property
    def channels(self) -> list[str]:
        """Every channel."""
        return _listed(self.channel)

    @property
    def mentioned(self) -> list[str]:
        """Every id."""
        return _listed(self.mention_users)

    @pydantic.model_validator(mode="after")
    def _complete(self) -> Slack:
        if self.enabled and not (self.bot_token.get_secret_value() and self.channels):
            raise ValueError("bot_token and channel must be set while Slack is enabled")
        return self


class Reporting(ConfigSection):
    """Recipients of messages: at most one per cycle, and only if something changed."""

    email: Email = Email()
    """Mail."""
    slack: Slack = Slack()
    """Slack."""
    urls: tuple[SecretStr, ...] = ()
    """Further recipients, as addresses of the library apprise: `ntfy://...`, `mmost://...`, `json://...`."""
    alert_after_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 24
    """Send a message if a run has waited so long, or if no cycle has succeeded for so long."""
    html_file: Path | None = None
    """Status page, written after every cycle; it needs no network and no server. Absent: none."""


class Carbon(ConfigSection):
    """Metrics for Graphite, sent after every cycle."""

    enabled: bool = False
    """Send metrics."""
    host: str = "localhost"
    """Carbon host."""
    port: Port = 2003
    """Its port for the plaintext protocol."""
    metric_prefix: Annotated[str, Field(pattern=r"^[^\s;]+$")] = "run_record_archiver"
    """First part of every metric's name."""


class Metrics(ConfigSection):
    """Metrics for Prometheus, written after every cycle."""

    prometheus_file: Path | None = None
    """File for node_exporter, such as `/var/lib/prometheus/node-exporter/rra.prom`. Absent: none."""


def _listed(value: str | list[str]) -> list[str]:
    """The names in a text with commas, or in a list."""
    parts = [value] if isinstance(value, str) else value
    return [name.strip() for part in parts for name in part.split(",") if name.strip()]
