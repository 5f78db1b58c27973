"""The manual of the keys and the JSON schema say what the models say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from rra_state.config import loading
from rra_state.config.references import expand
from scripts import make_config_docs as maker


def test_the_files_in_the_repository_are_up_to_date() -> None:
    assert maker.main(["--check"]) == 0, "run scripts/make_config_docs.py"


def test_a_stale_file_is_named_by_check_and_renewed_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text(f"before\n{maker.BEGIN}\nstale words\n{maker.END}\nafter\n")

    checked = maker.main(["--check"], tmp_path)
    untouched = (tmp_path / "README.md").read_text()
    written = maker.main([], tmp_path)

    assert (checked, written, maker.main(["--check"], tmp_path)) == (1, 0, 0)
    assert "README.md is out of date" in capsys.readouterr().out
    assert "stale words" in untouched
    text = (tmp_path / "README.md").read_text()
    assert text.startswith(f"before\n{maker.BEGIN}\n")
    assert text.endswith(f"{maker.END}\nafter\n")
    assert "stale words" not in text


def test_a_manual_without_its_marker_comments_is_refused() -> None:
    with pytest.raises(ValueError, match="marker comments"):
        maker.readme(f"{maker.END} {maker.BEGIN}")


def _keys(definition: dict[str, Any], whole: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    found = {}
    for name, key in definition["properties"].items():
        if "$ref" in key:
            inner = whole["$defs"][key["$ref"].rpartition("/")[2]]
            found |= _keys(inner, whole, f"{prefix}{name}.")
        else:
            found[prefix + name] = key | {"required": name in definition.get("required", [])}
    return found


def test_every_key_has_description_and_default_or_is_required() -> None:
    schema = maker.schema()

    keys = _keys(schema, schema)

    assert {"app.work_dir", "reporting.slack.bot_token", "fhiclize_generate", "carbon.port"} <= keys.keys()
    assert [name for name, key in keys.items() if not key.get("description")] == []
    assert [name for name, key in keys.items() if ("default" in key) == key["required"]] == []


def test_case_f_bounds_of_keys_are_written_in_full() -> None:
    assert "integer from 536870912" in maker.tables()


def test_every_key_has_a_row_in_the_manual() -> None:
    schema = maker.schema()
    text = maker.tables()

    sections = re.split(r"^### `?(.*?)`?$", text, flags=re.MULTILINE)[1:]
    rows = {
        f"{title}.{name}".removeprefix("Top level.")
        for title, body in zip(sections[::2], sections[1::2], strict=True)
        for name in re.findall(r"^\| `(\w+)` \|", body, flags=re.MULTILINE)
    }

    assert rows == _keys(schema, schema).keys()


def test_the_shipped_file_fits_the_schema() -> None:
    shipped = maker.DIRECTORY / "config.yaml"
    mapping = expand(yaml.safe_load(shipped.read_text()), {}, shipped)

    jsonschema.validate(mapping, maker.schema())
    jsonschema.Draft202012Validator.check_schema(json.loads((maker.DIRECTORY / "config.schema.json").read_text()))


def test_the_schema_refuses_an_unknown_key() -> None:
    with pytest.raises(jsonschema.ValidationError, match="batchsize"):
        jsonschema.validate({"app": {"work_dir": "/w", "batchsize": 3}}, maker.schema())


def test_the_secrets_have_no_value_in_what_is_generated() -> None:
    assert "**********" not in json.dumps(maker.schema()) + maker.tables()
    assert loading.PASSWORD_VARIABLE in (maker.DIRECTORY / "README.md").read_text()
