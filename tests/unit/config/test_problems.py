"""What is wrong in a configuration file is named with its key, its line and what was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.paths import REPOSITORY
from tests.unit.config.configurations import SMALL, complaint


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "    batchsize: 3\n",
            "config.yaml line 3: app.batchsize is not known; the nearest known key is app.batch_size",
        ),
        ("    batch_size: 0\n", "config.yaml line 3: app.batch_size: input should be greater than or equal to 1"),
        (
            "    retry_delay_seconds: .inf\n",
            "config.yaml line 3: app.retry_delay_seconds: input should be a finite number",
        ),
        (
            "    log_level: loud\n",
            "config.yaml line 3: app.log_level: input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'",
        ),
        ("    1: 2\n", "config.yaml line 3: app.1: keys should be strings"),
        ('    lock_file: ""\n', "config.yaml line 3: app.lock_file: must not be empty"),
        ("    x: [\n", "config.yaml line 5: not YAML: expected ',' or ']', but got ':'"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(tmp_path: Path, more: str, message: str) -> None:
    text = SMALL.replace("    work_dir: work\n", f"    work_dir: work\n{more}")

    assert complaint(tmp_path, text) == message


def test_an_unknown_section_is_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    message = complaint(tmp_path, SMALL + "repoting:\n    email: {}\n")

    assert message == "config.yaml line 10: repoting is not known; the nearest known key is reporting"


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ("work_dirr:", "work_dir:", "line 5: app.work_dirr is not known; the nearest known key is app.work_dir"),
        ("paralel_workers:", "writer_user:", "line 26: ucon_db.paralel_workers is not known; the nearest known key is"),
        ("foldername:", "folder_name:", "line 24: ucon_db.foldername is not known; the nearest known key is"),
    ],
)
def test_case_b16_a_misspelt_key_is_named_with_its_line(tmp_path: Path, wrong: str, right: str, message: str) -> None:
    text = (REPOSITORY / "config" / "config.yaml").read_text()

    said = complaint(tmp_path, text.replace(right, wrong, 1))

    assert said.startswith(f"config.yaml {message}")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("ucon_db.paralel_workers", "app.parallel_workers"),
        ("app.foldername", "ucon_db.folder_name"),
        ("ucon_db.run_records_directory", "source_files.run_records_dir"),
        ("app.smtp_hots", "reporting.email.smtp_host"),
        ("ucon_db.timeout", "ucon_db.timeout_seconds"),
    ],
)
def test_case_b16_the_nearest_key_may_be_of_another_section(tmp_path: Path, key: str, nearest: str) -> None:
    section, _, name = key.partition(".")

    said = complaint(tmp_path, SMALL.replace(f"{section}:\n", f"{section}:\n    {name}: 1\n"))

    assert said.partition(": ")[2] == f"{key} is not known; the nearest known key is {nearest}"


def test_case_b16_each_misspelt_key_has_its_line(tmp_path: Path) -> None:
    said = complaint(tmp_path, SMALL.replace("work_dir", "wrk_dir") + "metrix: {}\n")

    assert said.startswith("config.yaml line 2: app.wrk_dir is not known; the nearest known key is app.work_dir; line ")
    assert said.endswith(": metrix is not known; the nearest known key is metrics")


def test_a_choice_of_types_is_named_by_its_key(tmp_path: Path) -> None:
    message = complaint(tmp_path, SMALL + "reporting:\n    email:\n        recipient_email: 5\n")

    assert message.startswith("config.yaml line 12: reporting.email.recipient_email must be a text (put it in quotes)")


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    message = complaint(tmp_path, "app:\n    batch_size: x\nsource_files: {}\n")

    assert "app.work_dir is missing; app.batch_size: " in message
    assert message.endswith("source_files.run_records_dir is missing; artdaq_db is missing; ucon_db is missing")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("? [a, b]\n: c\n", "config.yaml: not YAML: unhashable type: 'list'"),
        ("carbon:\n    host: 2024-02-30\n", "config.yaml: not YAML: day is out of range for month"),
        ("metrics: /x/y\n", "line 10: metrics must be a table of keys"),
        ("reporting:\n    urls: json://x\n", "line 11: reporting.urls must be a list"),
    ],
)
def test_case_b16_what_yaml_cannot_hold_is_no_unexpected_error(tmp_path: Path, more: str, message: str) -> None:
    assert message in complaint(tmp_path, SMALL + more)


@pytest.mark.parametrize("work_dir", ["", "    work_dir:\n", "    work_dir: ~\n"])
def test_case_b16_a_key_left_out_is_no_unset_variable(tmp_path: Path, work_dir: str) -> None:
    text = SMALL.replace("    work_dir: work\n", f"{work_dir}    log_file: ${{work_dir}}/log\n")

    assert "app.work_dir is missing" in complaint(tmp_path, text)


@pytest.mark.parametrize(
    "wrong",
    [
        "ucon_db.writer_password: '${A:?hidden}'",
        "ucon_db.database_uri: 'postgresql://u:hidden${X@h/d'",
        "ucon_db.server_url: 'http://u:hidden${X@h/d'",
        "ucon_db.server_url: 'http://u:hid/den@h/d'",
        "ucon_db.server_url: 'http://u:hidden\u2100@h/d'",
        "artdaq_db.database_uri: 'postgresql://u:${hidden?}@h/d'",
        "reporting.urls: ['json://u:hidden${X@h/d']",
    ],
)
def test_no_mistake_shows_a_secret(tmp_path: Path, wrong: str) -> None:
    key, _, value = wrong.partition(": ")
    section, _, name = key.partition(".")
    mapping = yaml.safe_load(SMALL)
    mapping.setdefault(section, {})[name] = yaml.safe_load(value)

    message = complaint(tmp_path, yaml.safe_dump(mapping))

    assert key in message
    assert "hid" not in message
