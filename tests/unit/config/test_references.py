"""`${...}` in configuration values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rra_state.base.errors import ConfigError
from rra_state.config.references import expand

FILE = Path("/etc/rra.yaml")


def value(text: str, environ: dict[str, str] | None = None, **more: Any) -> Any:
    mapping = {"app": {"key": text, "dir": "/w", "number": 7, **more}, "other": {"deep": {"name": "/o"}}}
    return expand(mapping, environ or {}, FILE)["app"]["key"]


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${dir}/x", "/w/x"),
        ("${app.dir}/x", "/w/x"),
        ("${other.deep.name}", "/o"),
        ("${number}", "7"),
        ("${V}", "env"),
        ("${V:-default}", "env"),
        ("${NOT:-default}", "default"),
        ("${NOT:-}", ""),
        ("${EMPTY:-default}", "default"),
        ("${EMPTY}", ""),
        ("${NOT:-${dir}/x}", "/w/x"),
        ("${NOT:-${app.dir}/x}/${V}", "/w/x/env"),
        ("${NOT:-${ALSO_NOT:-last}}", "last"),
        ("p$ss$V$", "p$ss$V$"),
        ("a}b{c", "a}b{c"),
    ],
)
def test_a_reference_becomes_its_value(text: str, result: str) -> None:
    assert value(text, {"V": "env", "EMPTY": ""}) == result


def test_a_key_of_the_same_section_wins_over_the_environment() -> None:
    assert value("${dir}", {"dir": "/from/environment"}) == "/w"


def test_a_key_that_names_itself_takes_the_environment() -> None:
    assert value("${key}/x", {"key": "/env"}) == "/env/x"


def test_references_may_form_a_chain() -> None:
    assert value("${a}", a="${b}/2", b="${dir}/1") == "/w/1/2"


def test_what_a_variable_holds_is_not_expanded_again() -> None:
    assert value("${V}", {"V": "${dir} $HOME"}) == "${dir} $HOME"


def test_values_in_lists_and_tables_are_expanded() -> None:
    mapping = {"list": ["${V}", 1, None], "table": {"inner": "${V}"}, "flag": True}

    assert expand(mapping, {"V": "x"}, FILE) == {"list": ["x", 1, None], "table": {"inner": "x"}, "flag": True}


def test_an_unset_variable_is_named_with_its_key() -> None:
    with pytest.raises(ConfigError) as caught:
        value("${NOT}/x")

    assert str(caught.value) == "/etc/rra.yaml: app.key: ${NOT} is not set (export it, or write ${NAME:-default})"


@pytest.mark.parametrize("text", ["${NOT:-${ALSO_NOT}}", "${NOT:-${ALSO_NOT}/x}"])
def test_an_unset_variable_inside_a_default_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"\$\{ALSO_NOT\} is not set"):
        value(text)


@pytest.mark.parametrize("name", ["writer_password", "smtp_password", "bot_token"])
def test_an_unset_password_is_empty(name: str) -> None:
    assert expand({"s": {name: "${NOT}"}}, {}, FILE) == {"s": {name: ""}}


def test_a_circle_is_told() -> None:
    with pytest.raises(ConfigError, match=r"app\.key: refers to itself: app\.key -> app\.a -> app\.key"):
        value("${a}", a="${key}")


@pytest.mark.parametrize("text", ["${NOT", "${dir}/${", "${}", "${a b}", "${app.nope}/x", "${1}"])
def test_what_cannot_be_expanded_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match=r"/etc/rra\.yaml: app\.key: .*cannot be expanded"):
        value(text)
