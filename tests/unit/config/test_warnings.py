"""What a configuration asks for that nobody should want for long is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rra_state.config import loading
from rra_state.config.warnings import cautions


def _cautions(directory: Path, mode: int = 0o644, **changes: dict[str, Any]) -> list[str]:
    sections: dict[str, dict[str, Any]] = {
        "app": {"work_dir": "work"},
        "source_files": {"run_records_dir": "records"},
        "artdaq_db": {"database_uri": "filesystemdb:///srv/artdaqdb"},
        "ucon_db": {"server_url": "https://host/app", "folder_name": "records", "writer_user": "me"},
    }
    for section, values in changes.items():
        sections.setdefault(section, {}).update(values)
    file = directory / "config.yaml"
    file.write_text(yaml.safe_dump(sections))
    file.chmod(mode)
    return list(cautions(loading.load(file, {"WORD": "from-the-environment"})))


def test_an_ordinary_configuration_needs_no_word(tmp_path: Path) -> None:
    assert _cautions(tmp_path) == []


@pytest.mark.parametrize(
    ("section", "values", "key"),
    [
        ("ucon_db", {"writer_password": "s3cret"}, "ucon_db.writer_password"),
        ("ucon_db", {"writer_password": "${NOSUCH:-s3cret}"}, "ucon_db.writer_password"),
        ("ucon_db", {"database_uri": "postgresql://reader:s3cret@host/db"}, "ucon_db.database_uri"),
        ("artdaq_db", {"database_uri": "postgresql://writer:s3cret@host/db"}, "artdaq_db.database_uri"),
        ("reporting", {"email": {"smtp_password": "s3cret"}}, "reporting.email.smtp_password"),
        ("reporting", {"slack": {"bot_token": "s3cret"}}, "reporting.slack.bot_token"),
        ("reporting", {"urls": ["ntfy://s3cret"]}, "reporting.urls"),
    ],
)
def test_a_secret_that_others_can_read_is_told_without_it(
    tmp_path: Path, section: str, values: dict[str, Any], key: str
) -> None:
    [caution] = _cautions(tmp_path, **{section: values})

    assert f"holds a secret ({key}) and can be read by other accounts (chmod 600 {tmp_path}/config.yaml" in caution
    assert "s3cret" not in caution
    assert _cautions(tmp_path, 0o600, **{section: values}) == []


@pytest.mark.parametrize(
    "values",
    [
        {"writer_password": "${WORD}"},
        {"writer_password": ""},
        {"writer_password_file": "/nonexistent/password"},
        {"database_uri": "postgresql://reader@host/db"},
        {"database_uri": "postgresql://reader:${WORD}@host/db"},
    ],
)
def test_a_secret_that_is_kept_elsewhere_needs_no_word(
    tmp_path: Path, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "_first_line", lambda *_, private: "from-a-file")

    assert _cautions(tmp_path, ucon_db=values) == []


def test_connections_that_trust_anybody_and_faults_on_purpose_are_told(tmp_path: Path) -> None:
    told = _cautions(
        tmp_path,
        ucon_db={"verify_tls": False},
        reporting={"email": {"enabled": True, "recipient_email": "a@b.invalid", "verify_tls": False}},
        app_fuzz={"random_error_percent": 1},
    )

    assert [caution.partition(":")[0] for caution in told] == [
        "ucon_db.verify_tls is off",
        "reporting.email.verify_tls is off",
        "app_fuzz is on",
    ]
