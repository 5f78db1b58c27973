"""Whatever shows or judges runs, over a site that has one of everything and over one that has nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
import jsonschema
import pytest

import rra_state
from rra_state.base.errors import StoreUnavailable
from rra_state.base.wording import ranges
from rra_state.config.loading import Settings
from rra_state.monitoring import after_cycle, cycle_history, metrics
from rra_state.reporting import request, show, tables
from rra_state.reporting.assessment import Part, assess
from rra_state.reporting.counts import count_runs
from rra_state.reporting.page import map_data, render
from rra_state.reporting.request import Format
from rra_state.state.outcome import STAGES
from rra_state.state.snapshot import Snapshot
from rra_state.state.tally import Ended
from tests import mailbox
from tests import site_with_everything as everything
from tests.mailbox import Mailbox
from tests.servers import DevServer, Folder
from tests.site_with_everything import BuiltSite

FORMATS: tuple[Format, ...] = ("text", "json", "csv", "html")
SCHEMA = json.loads((Path(rra_state.__file__).parent / "reporting" / "schemas" / "status.schema.json").read_text())
SENTENCES = {
    everything.KEPT: f"run {everything.KEPT}: {everything.KEPT_FILE} line",
    everything.SKIPPED: f"run {everything.SKIPPED}: {everything.SKIPPED_LINK}: is a link",
    everything.DAMAGED_MARKER: f"markers/import/{everything.DAMAGED_MARKER}.json: cannot be read as JSON",
}
"""What text and page say, in the same words, of runs that are archived with a remark."""


LABELS = {"import": "import", "migrate": "migration", "refresh": "refresh"}
"""How the page calls the stages."""


@dataclass(frozen=True)
class SiteWithMail:
    """A finished site, and the mails that its last cycle sent."""

    built: BuiltSite
    mail: Mailbox

    @property
    def page(self) -> str:
        """The page that its last cycle wrote."""
        return self.built.page.read_text()

    @property
    def settings(self) -> Settings:
        return self.built.settings


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, ucondb_server: DevServer) -> Iterator[SiteWithMail]:
    root = tmp_path_factory.mktemp("full")
    folder = Folder.fresh(ucondb_server, str(root))  # pytest may make the site once more, on the same server
    with mailbox.mail_server() as box:
        built = everything.build(root, folder, box.port)
        yield SiteWithMail(built, box)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory, ucondb_server: DevServer) -> Iterator[SiteWithMail]:
    root = tmp_path_factory.mktemp("empty")
    folder = Folder.fresh(ucondb_server, str(root))
    with mailbox.mail_server() as box:
        built = everything.build_empty(root, folder, box.port)
        yield SiteWithMail(built, box)


@pytest.fixture(params=["full", "empty"])
def site(request: pytest.FixtureRequest) -> SiteWithMail:
    found: SiteWithMail = request.getfixturevalue(request.param)
    return found


def shown(settings: Settings, form: Format, **part: Any) -> str:
    """What `--report-status` prints."""
    out = io.StringIO()
    request.show(settings, out, form=form, comparison=form == "json", part=Part(**part))
    return out.getvalue()


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def words(page: str) -> str:
    """What a person reads on a page, in one line."""
    body = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", page.partition("<body>")[2], flags=re.DOTALL)
    return in_one_line(unescape(re.sub(r"<[^>]*>", " ", body)))


def section(text: str, title: str) -> str:
    return in_one_line(text.partition(f"\n{title}\n{'-' * len(title)}\n")[2].partition("\n\n")[0])


def states_on(page: str) -> dict[int, str]:
    """Every number of the page's map, with the state that its cell has."""
    [embedded] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    names = {code: name for name, code in map_data.CODES.items()}
    return {
        first + number: names[code]
        for first, length, code in json.loads(embedded)["segments"]
        for number in range(length)
    }


# ---- a site with everything ----------------------------------------------------------------------------------------


def test_case_b1_the_page_of_a_cycle_shows_everything(full: SiteWithMail) -> None:
    page = full.page

    assert states_on(page) == everything.ON_THE_MAP
    text = words(page)
    for sentence in (
        *SENTENCES.values(),
        f"1 still being written: {everything.OPEN}",
        f"{everything.FAILED_IMPORT} RecordError import",
        f"{everything.EMPTY} RecordError import",
        f"{everything.FAILED_MIGRATION} Conflict migration",
        f"{everything.OUTDATED} Conflict refresh",
        f"{everything.NEVER_ATTEMPTED} NotAttempted import waiting: the next cycle takes it",
        f"{everything.LISTED_BY_OPERATOR} Listed import an operator wrote it into the failure log",
        f"{everything.DAMAGED_FAILURE} Damaged import its failure record cannot be read",
        f"{everything.DAMAGED_REFRESH} Damaged refresh its failure record cannot be read",
        "Archived before they had a stop time "
        f"{everything.DAMAGED_MARKER}, {everything.WATCHED}, {everything.OUTDATED}, {everything.DAMAGED_REFRESH}",
        f"{everything.GAP[0]}\N{EN DASH}{everything.GAP[-1]} {len(everything.GAP)} every site: no record",
        *(f"{name}: is " for name in everything.IGNORED),
    ):
        assert sentence in text, sentence


def test_case_b1_the_page_asked_for_shows_everything(full: SiteWithMail) -> None:
    page = shown(full.settings, "html")

    assert states_on(page) == everything.ON_THE_MAP
    assert "The disk and both stores were asked." in words(page)


def test_the_text_report_shows_everything(full: SiteWithMail) -> None:
    text = shown(full.settings, "text")

    imports = section(text, "Not archived (import)")
    for sentence in (
        f"run {everything.FAILED_IMPORT}: ",
        f"run {everything.EMPTY}: ",
        f"its failure record cannot be read: {everything.DAMAGED_FAILURE}",
        f"waiting: the next cycle takes it: {everything.NEVER_ATTEMPTED}",
        f"listed by an operator: {everything.LISTED_BY_OPERATOR}",
    ):
        assert sentence in f"{imports} ", sentence
    assert section(text, "Not archived (migrate)").startswith(f"run {everything.FAILED_MIGRATION}: ")
    changed = section(text, "Changed since, and not archived again")
    assert re.search(
        rf"run {everything.OUTDATED}: .*its failure record cannot be read: {everything.DAMAGED_REFRESH}", changed
    )
    whole = in_one_line(text)
    for sentence in (
        *SENTENCES.values(),
        f"Still being written: {everything.OPEN}",
        f"1 run in artdaqDB, not in UconDB: {everything.IMPORTED}",
        f"1 run in UconDB, no longer on disk: {everything.GONE}",
        *(f"{name}: is " for name in everything.IGNORED),
    ):
        assert sentence in whole, sentence


def test_json_shows_everything_and_is_what_its_schema_says(full: SiteWithMail) -> None:
    values = json.loads(shown(full.settings, "json"))

    jsonschema.validate(values, SCHEMA, jsonschema.Draft202012Validator)
    rows = {row["run"]: row for row in values["runs"]}
    assert {run: row["state"] for run, row in rows.items()} == everything.STATES
    assert rows[everything.KEPT]["kept_files"] == everything.KEPT_FILE
    assert rows[everything.SKIPPED]["skipped_files"].startswith(everything.SKIPPED_LINK)
    assert rows[everything.REFRESHED]["refreshes"] == 1
    assert [run for run, row in rows.items() if row["on_disk"] is False] == [
        everything.LISTED_BY_OPERATOR,
        everything.GONE,
    ]
    assert values["lost"] == str(everything.LISTED_BY_OPERATOR)
    assert values["open"] == str(everything.OPEN)
    assert values["outdated"] == f"{everything.OUTDATED},{everything.DAMAGED_REFRESH}"
    assert [entry["name"] for entry in values["ignored"]] == list(everything.IGNORED)
    assert len(values["damaged"]) == 3
    assert {(row["stage"], row["error_class"]): row["runs"] for row in values["failures"]} == {
        ("import", "Damaged"): str(everything.DAMAGED_FAILURE),
        ("import", "Listed"): str(everything.LISTED_BY_OPERATOR),
        ("import", "NotAttempted"): str(everything.NEVER_ATTEMPTED),
        ("import", "RecordError"): f"{everything.FAILED_IMPORT},{everything.EMPTY}",
        ("migrate", "Conflict"): str(everything.FAILED_MIGRATION),
        ("refresh", "Conflict"): str(everything.OUTDATED),
        ("refresh", "Damaged"): str(everything.DAMAGED_REFRESH),
    }


def test_csv_has_a_row_for_everything(full: SiteWithMail) -> None:
    rows = list(csv.DictReader(io.StringIO(shown(full.settings, "csv"))))

    assert {int(row["run"]): row["state"] for row in rows} == everything.STATES


def test_the_mail_of_a_cycle_shows_everything_that_failed(full: SiteWithMail) -> None:
    [text] = full.mail.texts[:1]

    failed = f"{everything.FAILED_IMPORT}, {everything.EMPTY}, {everything.DAMAGED_FAILURE}"
    assert f"3 runs failed (import): {failed}" in text
    assert f"run {everything.DAMAGED_FAILURE}: its failure record cannot be read [Damaged]" in text
    assert f"1 run failed (migrate): {everything.FAILED_MIGRATION}" in text
    assert f"2 runs failed (refresh): {everything.OUTDATED}, {everything.DAMAGED_REFRESH}" in text
    assert f"run {everything.DAMAGED_REFRESH}: its failure record cannot be read [Damaged]" in text
    assert "Now: 7 archived, 3 waiting, 6 failed, 1 still being written, 1 lost." in text


def test_each_run_of_everything_can_be_shown(full: SiteWithMail) -> None:
    for run in everything.STATES.keys() - {everything.LISTED_BY_OPERATOR}:
        assert next(show.lines(full.settings, run)) == f"run {run}"


def test_renderers_say_the_same_of_each_run(full: SiteWithMail) -> None:
    """Text, JSON, CSV, page, metrics and frames, asked one after the other, of every run."""
    values = json.loads(shown(full.settings, "json"))
    states = {row["run"]: row["state"] for row in values["runs"]}
    in_csv = {int(row["run"]): row["state"] for row in csv.DictReader(io.StringIO(shown(full.settings, "csv")))}
    frame = rra_state.runs(full.settings)
    page, text = shown(full.settings, "html"), in_one_line(shown(full.settings, "text"))
    numbers = {state: list(states.values()).count(state) for state in ("archived", "waiting", "failed", "open", "lost")}
    snapshot, ended = Snapshot.take(full.settings), Ended(STAGES, 1.0)
    history = cycle_history.after(snapshot.tree, ended)
    measured = metrics.prometheus(metrics.samples(ended, history, count_runs(snapshot)))

    assert states == in_csv == everything.STATES
    assert dict(zip(frame["run"], frame["state"], strict=True)) == states
    assert {run: state for run, state in states_on(page).items() if state != "gap"} == states
    for state, number in numbers.items():
        assert f'rra_runs{{state="{state}"}} {number}.0' in measured
        assert f"{state} {number}" in words(page)
    for group in assess(snapshot).failures:
        runs = ranges(group.runs)
        reason = in_one_line(group.text)
        assert any(row["run"] in group.runs and row["error_class"] for row in values["runs"]) or group.kind == "Listed"
        assert f"{runs} {group.kind} {LABELS[group.stage]} {reason}" in words(page)
        assert runs in text
        in_text = reason if len(group.runs) > 1 else reason.replace("<run>", runs)
        assert in_text in text or group.kind == "Listed"


def test_verdict_and_steps_are_the_same_everywhere(full: SiteWithMail) -> None:
    values = json.loads(shown(full.settings, "json"))
    text, page = in_one_line(shown(full.settings, "text")), words(shown(full.settings, "html"))

    assert values["verdict"]["text"] in text
    word, _, reason = values["verdict"]["text"].partition(": ")
    assert f"{word} {reason}" in page
    for step in values["steps"]:
        assert f"{step['command']} {step['why']}" in text
        assert f"{step['command']} {step['why']}" in page


def test_nothing_of_everything_is_called_safe(full: SiteWithMail) -> None:
    assert "NOT SAFE: " in shown(full.settings, "text")


# ---- a site with everything, and one with nothing ------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("fault", ["", "UconDB away", "records away"])
def test_everything_and_nothing_can_be_shown_in_any_format(site: SiteWithMail, form: Format, fault: str) -> None:
    settings = site.settings
    if fault == "UconDB away":
        away = settings.ucon_db.model_copy(update={"server_url": "http://127.0.0.1:1/app"})
        settings = settings.model_copy(update={"ucon_db": away})
    elif fault == "records away":
        away_records = settings.source_files.model_copy(update={"run_records_dir": site.built.site.root / "nowhere"})
        settings = settings.model_copy(update={"source_files": away_records})

    text = shown(settings, form)

    assert text
    if form in ("text", "html"):
        assert ("NOT KNOWN" in text) == bool(fault)


@pytest.mark.parametrize("form", ["text", "json", "csv"])
@pytest.mark.parametrize("part", [{"since": 0.0}, {"since": 4e9}, {"stage": "import"}, {"stage": "migrate"}])
def test_parts_of_everything_and_nothing_can_be_shown(site: SiteWithMail, form: Format, part: dict[str, Any]) -> None:
    assert shown(site.settings, form, **part)


def test_every_frame_takes_everything_and_nothing(site: SiteWithMail) -> None:
    snapshot = rra_state.snapshot(site.settings)

    for name in tables.COLUMNS:
        assert list(getattr(rra_state, name)(snapshot).columns) == [column.name for column in tables.COLUMNS[name]]


def test_a_fault_after_everything_or_nothing_is_mailed(site: SiteWithMail, tmp_path: Path) -> None:
    settings, page, measured = site.settings, tmp_path / "status.html", tmp_path / "rra.prom"
    changes = {
        "reporting": settings.reporting.model_copy(update={"alert_after_hours": 1e-9, "html_file": page}),
        "metrics": settings.metrics.model_copy(update={"prometheus_file": measured}),
    }
    before = len(site.mail.texts)

    after_cycle.run(
        settings.model_copy(update=changes), Ended(STAGES, 1.0, fault=StoreUnavailable("UconDB did not answer"))
    )

    [text] = site.mail.texts[before:]
    assert "A cycle was ended by an error." in text
    assert "UconDB did not answer" in text
    assert "The last cycle ended early: UconDB did not answer" in words(page.read_text())
    assert "rra_cycle_good 0" in measured.read_text()


def test_an_empty_site_has_nothing_to_show(empty: SiteWithMail) -> None:
    assert "NO RUN ON DISK" in shown(empty.settings, "text")
    assert json.loads(shown(empty.settings, "json"))["runs"] == []
    assert shown(empty.settings, "csv").count("\n") == 1
    assert states_on(shown(empty.settings, "html")) == {}
    assert states_on(empty.page) == {}


# ---- templates -----------------------------------------------------------------------------------------------------


def test_everything_that_a_template_names_is_given(site: SiteWithMail) -> None:
    snapshot = Snapshot.take(site.settings)
    given = {
        "page.html": render.values(snapshot, assess(snapshot), None),
        "unknown.html": render.unknown_values(site.settings, "no reason"),
    }
    environment = render.environment()

    assert sorted(environment.list_templates(extensions=["html"])) == sorted(given)
    for name, values in given.items():
        source = (Path(render.__file__).parent / name).read_text()
        assert jinja2.meta.find_undeclared_variables(environment.parse(source)) - values.keys() == set()


def test_a_name_that_everything_lacks_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="missing"):
        render.environment().from_string("{{ missing }}").render()


def test_a_page_over_everything_without_a_cycle(site: SiteWithMail, tmp_path: Path) -> None:
    render.write(site.settings, tmp_path / "status.html")

    assert "<h1>" in (tmp_path / "status.html").read_text()
