"""The configuration file: what a site writes, and what it is told when it errs."""

from __future__ import annotations

from pathlib import Path

import pytest

from rra_state.base.errors import ConfigError
from rra_state.config import loading
from tests.paths import REPOSITORY
from tests.unit.config.configurations import SMALL, complaint, load

SHIPPED = REPOSITORY / "config" / "config.yaml"

EXISTING = """\
# every section and key of the existing archiver
app:
    work_dir: "${RRA_HOME:-/var/lib/run_record_archiver}"
    import_state_file: "${work_dir}/importer_state.json"
    import_failure_log: "${work_dir}/import_failures.log"
    migrate_state_file: "${work_dir}/migrator_state.json"
    migrate_failure_log: "${app.work_dir}/migrate_failures.log"
    lock_file: "${work_dir}/.archiver.lock"
    batch_size: 5
    parallel_workers: 2
    run_process_retries: 2
    retry_delay_seconds: 3
    log_level: "info"
    log_file: "${work_dir}/archiver.log"
source_files:
    run_records_dir: "/daq/run_records"
artdaq_db:
    fcl_conf_dir: "/opt/fcl"
    database_uri: "filesystemdb:///daq/artdaqdb"
    use_tools: true
    remote_host: ""
ucon_db:
    server_url: "https://host:9443/sbnd_on_ucon_prod/app"
    folder_name: "run_records"
    object_name: "configuration"
    timeout_seconds: 30
    writer_user: "${UCONDB_USER:-writer}"
    writer_password: "${UCONDB_PASSWORD}"
fhiclize_generate:
    - boot
    - known_boardreaders_list
    - setup
    - environment
    - metadata
    - settings
    - RunHistory
    - RunHistory2
app_fuzz:
    random_skip_percent: 0
    random_skip_retry: false
    random_error_percent: 0
    random_error_retry: false
reporting:
    email:
        enabled: false
        recipient_email: "shift@example.org"
        sender_email: "archiver@example.org"
        smtp_host: "smtp.example.org"
        smtp_port: 587
        smtp_use_tls: true
        smtp_user: "${SMTP_USER:-}"
        smtp_password: "${SMTP_PASSWORD}"
    slack:
        enabled: false
        bot_token: "${SLACK_BOT_TOKEN}"
        channel: "#daq"
        mention_users: ["U1", "U2"]
carbon:
    enabled: false
    host: "carbon.example.org"
    port: 2003
    metric_prefix: "sbnd.archiver"
"""


def test_the_shipped_file_loads_as_it_is() -> None:
    settings = loading.load(SHIPPED, {"UCONDB_PASSWORD": "secret"})

    assert settings.app.work_dir == Path("/var/lib/run_record_archiver")
    assert settings.app.log_file == settings.app.work_dir / "run_record_archiver.log"
    assert settings.ucon_db.writer_password.get_secret_value() == "secret"


def test_the_shipped_file_takes_its_places_from_the_environment(tmp_path: Path) -> None:
    environ = {"RRA_WORK_DIR": str(tmp_path), "RRA_RUN_RECORDS_DIR": "/r", "RRA_ARTDAQDB_DIR": "/a"}

    settings = loading.load(SHIPPED, environ)

    assert settings.app.import_state_file == tmp_path / "importer_state.json"
    assert settings.source_files.run_records_dir == Path("/r")
    assert settings.artdaq_db.database_uri == "filesystemdb:///a"


def test_a_file_of_the_existing_archiver_loads_unchanged(tmp_path: Path) -> None:
    settings = load(tmp_path, EXISTING, {"RRA_HOME": "/home/daq"})

    assert settings.app.migrate_failure_log == Path("/home/daq/migrate_failures.log")
    assert settings.app.log_level == "INFO"
    assert settings.app.batch_size == 5
    assert settings.artdaq_db.remote_host is None
    assert "ranks" not in (settings.fhiclize_generate or ())
    assert settings.reporting.slack.mention_users == ["U1", "U2"]


def test_the_smallest_file_has_the_documented_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path)

    assert settings.app.import_state_file == tmp_path / "work" / "importer_state.json"
    assert settings.app.lock_file == tmp_path / "work" / ".archiver.lock"
    assert (settings.app.run_process_retries, settings.app.retry_delay_seconds) == (2, 3)
    assert settings.app.batch_size is None
    assert settings.fhiclize_generate is None
    assert settings.path == tmp_path / "config.yaml"


def test_relative_paths_count_from_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "etc").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "etc" / "config.yaml").write_text(SMALL)

    settings = loading.load("etc/config.yaml", {})

    assert settings.app.work_dir == tmp_path / "etc" / "work"
    assert settings.source_files.run_records_dir == tmp_path / "etc" / "records"


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a list\n", "a word\n"])
def test_a_file_without_sections_says_where_to_start(tmp_path: Path, text: str) -> None:
    assert complaint(tmp_path, text) == "config.yaml: holds no sections such as app: (start from config/config.yaml)"


@pytest.mark.parametrize("data", [b"app: \xff\n", b"app: \x07\n"])
def test_bytes_that_are_no_text_are_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(data)

    with pytest.raises(ConfigError, match=r"not UTF-8|not YAML"):
        loading.load(tmp_path / "config.yaml", {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: the configuration cannot be read: No such file"):
        loading.load(tmp_path / "none.yaml", {})


def test_a_key_without_a_value_counts_as_left_out(tmp_path: Path) -> None:
    text = SMALL.replace("work_dir: work", "work_dir: work\n    batch_size:\n    log_level:\n    run_process_retries:")

    settings = load(tmp_path, text + "    writer_password:\ncarbon:\n")

    assert settings == load(tmp_path)


@pytest.mark.parametrize("key", ["log_file", "batch_size"])
def test_an_optional_key_with_an_empty_variable_is_absent(tmp_path: Path, key: str) -> None:
    settings = load(tmp_path, SMALL.replace("work_dir: work", f'work_dir: work\n    {key}: "${{NOT_SET:-}}"'))

    assert getattr(settings.app, key) is None


def test_an_empty_folder_for_schema_fcl_is_none(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALL.replace("artdaq_db:\n", 'artdaq_db:\n    fcl_conf_dir: ""\n'))

    assert settings.artdaq_db.fcl_conf_dir is None


@pytest.mark.parametrize("key", ["work_dir: work", "run_records_dir: records"])
def test_an_empty_required_path_is_not_the_current_folder(tmp_path: Path, key: str) -> None:
    name = key.partition(":")[0]

    assert f"{name}: must not be empty" in complaint(tmp_path, SMALL.replace(key, f'{name}: ""'))


def test_a_home_that_nobody_has_stays_as_it_is_written(tmp_path: Path) -> None:
    settings = load(tmp_path, SMALL.replace(": records", ': "~no_such_user_7/records"'))

    assert settings.source_files.run_records_dir == tmp_path / "~no_such_user_7" / "records"


@pytest.mark.parametrize("value", ["boot", "5", "true"])
def test_fhiclize_generate_has_to_be_a_list(tmp_path: Path, value: str) -> None:
    message = complaint(tmp_path, f"{SMALL}fhiclize_generate: {value}\n")

    assert message == "config.yaml line 10: fhiclize_generate: must be a list such as [boot, metadata]"


def test_fhiclize_generate_names_what_it_does_not_know(tmp_path: Path) -> None:
    message = complaint(tmp_path, f"{SMALL}fhiclize_generate: [boot, seting]\n")

    assert message.startswith('config.yaml line 10: fhiclize_generate: "seting" is not known (choose from boot, ')


def test_fhiclize_generate_takes_stems_and_names_of_files(tmp_path: Path) -> None:
    settings = load(tmp_path, f"{SMALL}fhiclize_generate: [boot, setup.txt, ranks.fcl]\n")

    assert settings.fhiclize_generate == ("boot", "ranks", "setup")


def test_fhiclize_generate_may_be_the_table_the_existing_code_takes(tmp_path: Path) -> None:
    settings = load(tmp_path, f"{SMALL}fhiclize_generate:\n    files: [metadata, boot]\n")

    assert settings.fhiclize_generate == ("boot", "metadata")


def test_a_deleted_current_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    with pytest.raises(ConfigError, match="the current directory is gone"):
        loading.load("config.yaml")


def test_the_password_comes_from_the_variable(tmp_path: Path) -> None:
    settings = load(tmp_path, environ={"UCONDB_PASSWORD": "from variable"})

    assert settings.ucon_db.writer_password.get_secret_value() == "from variable"


@pytest.mark.parametrize("more", ["", "    writer_password: ${UCONDB_PASSWORD}\n"])
def test_a_password_that_is_no_text_is_refused(tmp_path: Path, more: str) -> None:
    with pytest.raises(ConfigError, match=r"the UconDB password is not UTF-8 text \(correct UCONDB_PASSWORD"):
        load(tmp_path, SMALL + more, {"UCONDB_PASSWORD": "\udcff"})


def test_the_password_comes_from_the_first_line_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("two words \r\nnext line\n")
    (tmp_path / "pw").chmod(0o600)

    settings = load(tmp_path, f"{SMALL}    writer_password_file: pw\n", {"UCONDB_PASSWORD": "other"})

    assert settings.ucon_db.writer_password.get_secret_value() == "two words "
    assert settings.path == tmp_path / "config.yaml"


def test_the_password_comes_from_a_systemd_credential(tmp_path: Path) -> None:
    (tmp_path / "ucondb_password").write_text("credential\n")

    settings = load(tmp_path, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert settings.ucon_db.writer_password.get_secret_value() == "credential"


@pytest.mark.parametrize("mode", [0o604, 0o606, 0o620, 0o602])
def test_a_password_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "pw").chmod(mode)

    message = complaint(tmp_path, f"{SMALL}    writer_password_file: pw\n")

    assert "can be read by other accounts (chmod 600 " in message
    assert "secret" not in message


def test_an_unreadable_password_file_is_named(tmp_path: Path) -> None:
    message = complaint(tmp_path, f"{SMALL}    writer_password_file: none\n")

    assert f"the password file {tmp_path}/none cannot be read: no such file" in message


def test_no_secret_is_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, f"{SMALL}    writer_password: hunter2\n")
    mistaken = complaint(tmp_path, f"{SMALL}    writer_password: [hunter2]\n")

    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in mistaken


def test_loaded_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load(tmp_path)

    with pytest.raises(ValueError, match="frozen"):
        settings.app.batch_size = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lock_file": "rec/1/settings.txt"}, "app.lock_file must not lie in source_files.run_records_dir"),
        ({"work_dir": "rec"}, "app.work_dir must not lie in source_files.run_records_dir"),
        (
            {"import_state_file": "s.json", "migrate_state_file": "s.json"},
            "app.import_state_file and app.migrate_state_file are the same file",
        ),
    ],
)
def test_places_that_would_destroy_each_other_are_refused(tmp_path: Path, changes: dict[str, str], words: str) -> None:
    app = "".join(f"    {key}: {value}\n" for key, value in ({"work_dir": "work"} | changes).items())
    text = (
        f"app:\n{app}source_files:\n    run_records_dir: rec\nartdaq_db:\n    database_uri: filesystemdb:///db\n"
        "ucon_db:\n    server_url: http://127.0.0.1/u\n    folder_name: f\n"
    )

    assert words in complaint(tmp_path, text)


def test_a_section_given_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    text = "app:\n    work_dir: a\nsource_files:\n    run_records_dir: b\napp:\n    work_dir: c\n"

    assert complaint(tmp_path, text) == "config.yaml line 5: app is given twice; the first is in line 1 (remove one)"


@pytest.mark.parametrize(
    "url",
    [
        *("http://[::1", "ftp://host/x", "host:9443/x", "https://", "http://h:99999/x", "http://h:port/x"),
        *("http://h/x ", "http://h/x?y=1", "http://h/x#y"),
    ],
)
def test_a_server_url_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    text = (
        "app:\n    work_dir: w\nsource_files:\n    run_records_dir: rec\nartdaq_db:\n    database_uri: filesystemdb:///db\n"
        f'ucon_db:\n    server_url: "{url}"\n    folder_name: f\n'
    )

    assert "line 8: ucon_db.server_url: " in complaint(tmp_path, text)
