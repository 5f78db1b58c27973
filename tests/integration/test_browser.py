"""The status page in a real browser: what a shifter sees, with mouse, keyboard and phone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from rra_state.reporting.assessment import assess
from rra_state.reporting.page import render
from rra_state.state.outcome import Failure
from rra_state.state.snapshot import Snapshot
from tests import browser as browsers
from tests.browser import Browser
from tests.unit.archive_site import Site
from tests.waiting import scaled

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
TIME = "2026-11-20T00:00:00Z"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as found:
        yield found


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs 101 to 400: 250-259 without a record, 300-302 and 310 failed, 398 and 399 waiting, 400 open."""
    root = tmp_path_factory.mktemp("page")
    site = Site(root)
    site.record(*range(101, 250), *range(260, 400))
    site.record(400, ended=False)
    broken = {300, 301, 302}
    site.archive("import", *(set(range(101, 250)) | set(range(260, 398)) - broken), configuration=HOSTILE)
    site.archive("migrate", *(set(range(101, 250)) | set(range(260, 398)) - broken - {310}), size=27_113)
    site.tree.write_failures(
        [
            *(
                Failure(run, "import", "RecordError", f"run {run}: metadata.txt is missing", 3, TIME, TIME)
                for run in sorted(broken)
            ),
            Failure(310, "migrate", "Conflict", f"run 310: {HOSTILE}", 1, TIME, TIME),
        ]
    )
    lines = ["files", f"  ~ {HOSTILE}: 1 parameter"]
    site.tree.write_note("changes", {"397": {"of": [396, "", ""], "lines": lines, "more": 2}})
    return written(site, root / "status.html")


def written(site: Site, path: Path) -> Path:
    snapshot = Snapshot.take(site.settings)
    path.write_text(render.html(snapshot, assess(snapshot)), encoding="utf-8")
    return path


def test_it_loads_without_a_complaint_and_without_the_network(browser: Browser, shown: Path) -> None:
    browser.open(shown)

    assert "NOT SAFE" in browser.text("verdict")
    assert browser.messages() == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("101", "Run 101 is archived."),
        (" 1 01 ", "27113 bytes"),
        ("397", f"Changed against run 396\nfiles\n  ~ {HOSTILE}: 1 parameter\nand 2 more lines; --diff shows all"),
        ("300", "Run 300 is not archived."),
        ("300", "RecordError in the import: metadata.txt is missing"),
        ("398", "Run 398 waits for its import into artdaqDB."),
        ("400", "Run 400 is still being written."),
        ("255", "There is no record of run 255.\nNumbers 250 to 259 are missing."),
        ("7", "Run 7 is not known.\nThe runs here go from 101 to 400."),
        ("99999999999", "Run 99999999999 is not known."),
        ("abc", "“abc” is not a run number."),
    ],
)
def test_a_run_is_found_by_its_number(browser: Browser, shown: Path, typed: str, expected: str) -> None:
    browser.open(shown)

    browser.driver.find_element(By.ID, "run").send_keys(typed)

    assert expected in browser.text("answer").replace("\u202f", " ")


def test_a_cell_tells_its_runs_under_the_mouse(browser: Browser, shown: Path) -> None:
    browser.open(shown)

    hover(browser, "map")

    assert browser.run("return document.getElementById('tip').hidden") is False
    assert browser.text("tip").startswith("Run 103 is archived.")
    ActionChains(browser.driver).move_to_element(browser.driver.find_element(By.TAG_NAME, "h1")).perform()
    assert browser.run("return document.getElementById('tip').hidden") is True


def test_a_cell_names_its_runs_to_keyboard_and_reader(browser: Browser, shown: Path) -> None:
    browser.open(shown)
    tab_to(browser, "map")

    keys(browser, Keys.END)

    assert browser.text("tip") == "Run 400 is still being written."
    assert browser.run("return document.getElementById('said').textContent") == browser.text("tip")
    keys(browser, Keys.ARROW_LEFT)
    assert browser.text("tip").startswith("Run 399 waits for its import")
    keys(browser, Keys.ESCAPE)
    assert browser.run("return document.getElementById('tip').hidden") is True


def test_a_block_of_runs_is_opened_and_closed_with_keys(browser: Browser, shown: Path) -> None:
    browser.open(many(shown), width=820)
    tab_to(browser, "map")

    keys(browser, Keys.HOME, Keys.ENTER)

    assert browser.run("return document.activeElement.id") == "near"
    assert re.fullmatch(r"Runs \d+\W\d+", browser.text("closer-title"))
    keys(browser, Keys.ARROW_RIGHT, Keys.ENTER)
    assert "is archived" in browser.text("answer")
    keys(browser, Keys.ESCAPE)
    assert browser.run("return [document.getElementById('closer').hidden, document.activeElement.id]") == [True, "map"]


def test_the_tab_key_reaches_everything_with_visible_focus(browser: Browser, shown: Path) -> None:
    browser.open(shown)
    reached = []
    for _ in range(15):
        keys(browser, Keys.TAB)
        reached.append(browser.run("return document.activeElement.id || document.activeElement.textContent.trim()"))
        outline = browser.run(
            "const s = getComputedStyle(document.activeElement); return s.outlineStyle + s.outlineWidth"
        )
        assert outline in ("solid2px", "auto1px") or reached[-1].startswith("Skip"), reached[-1]

    assert reached[:2] == ["Skip to the map of runs", "run"]
    assert {"map", "words", "plot"} <= set(reached)
    assert [each.split()[0] for each in reached[2:7]] == ["archived", "waiting", "failed", "open", "gap"]


def test_failures_are_filtered_by_words_and_by_run(browser: Browser, shown: Path) -> None:
    browser.open(shown)
    field = browser.driver.find_element(By.ID, "words")

    for typed, left in (
        ("metadata", ["3 300-302"]),
        ("conflict", ["1 310"]),
        ("301", ["3 300-302"]),
        ("import 310", []),
    ):
        field.clear()
        field.send_keys(typed)
        assert shown_failures(browser) == left
        assert browser.text("filtered") == f"{len(left)} of 2 reasons"
    assert browser.run("return document.getElementById('none-left').hidden") is False
    field.clear()
    field.send_keys(" ")
    assert len(shown_failures(browser)) == 2


def test_one_state_can_be_picked_out_of_the_map(browser: Browser, shown: Path) -> None:
    browser.open(shown)
    before = browser.run("return document.querySelector('#map canvas').toDataURL()")
    button = browser.driver.find_element(By.CSS_SELECTOR, ".legend button[data-state='2']")

    button.click()

    assert button.get_attribute("aria-pressed") == "true"
    assert browser.run("return document.querySelector('#map canvas').toDataURL()") != before
    button.click()
    assert browser.run("return document.querySelector('#map canvas').toDataURL()") == before


def test_the_days_are_read_with_mouse_and_keyboard(browser: Browser, shown: Path) -> None:
    browser.open(shown)
    tab_to(browser, "plot")

    last = browser.text("tip")

    assert "286 into UconDB" in last.replace("\u202f", " ") or "into UconDB" in last
    keys(browser, Keys.ARROW_LEFT)
    assert browser.text("tip") != last
    ActionChains(browser.driver).move_to_element(
        browser.driver.find_elements(By.CSS_SELECTOR, ".bar .reach")[3]
    ).perform()
    assert browser.text("tip").endswith("0 into UconDB, 0 into artdaqDB")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_by_weak_eyes(browser: Browser, shown: Path, scheme: str) -> None:
    browser.open(shown, dark=scheme == "dark")
    browser.run("for (const each of document.querySelectorAll('details')) each.open = true")
    browser.driver.find_element(By.ID, "run").send_keys("300")
    browser.driver.find_element(By.CSS_SELECTOR, ".legend button[data-state='2']").click()

    faint = browser.run(check("contrast"))

    assert faint == []


@pytest.mark.parametrize("width", [320, 390, 820, 1400])
def test_nothing_sticks_out_sideways(browser: Browser, shown: Path, width: int) -> None:
    browser.open(shown, width=width)

    assert browser.run("return document.documentElement.scrollWidth") == width


def test_case_f_verdict_and_advice_are_on_the_first_screen(browser: Browser, shown: Path) -> None:
    browser.open(shown, width=1280, height=900)
    bottom = "return document.querySelector(arguments[0]).getBoundingClientRect().bottom"

    assert browser.run(bottom, "header") < 200
    assert browser.run(bottom, "section") < 900


def test_case_f_run_numbers_stay_whole_on_a_phone(browser: Browser, shown: Path) -> None:
    browser.open(shown, width=390)
    lines = "return [...document.querySelectorAll('[aria-labelledby=gaps-title] td:first-child')].map("
    lines += "(cell) => { const text = document.createRange(); text.selectNodeContents(cell);"
    lines += " return new Set([...text.getClientRects()].map((each) => each.top)).size })"

    found = browser.run(lines)

    assert found
    assert set(found) == {1}


def test_what_a_screen_reader_needs_is_there(browser: Browser, shown: Path) -> None:
    browser.open(shown)

    assert browser.run(check("structure")) == []


def test_texts_of_records_and_stores_stay_texts(browser: Browser, shown: Path) -> None:
    browser.open(shown)

    browser.driver.find_element(By.ID, "run").send_keys("310")

    assert HOSTILE in browser.text("failures")
    assert HOSTILE in browser.text("answer")
    assert browser.run("return window.hacked") is None


def test_a_hundred_thousand_runs_do_not_freeze_it(browser: Browser, shown: Path) -> None:
    browser.open(many(shown), width=1400)

    spent = browser.run(
        "const begin = performance.now(), field = document.getElementById('run');"
        "for (const run of [1, 50000, 99999, 100000]) { field.value = run; field.dispatchEvent(new Event('input')); }"
        "return performance.now() - begin"
    )

    assert spent < 1000 * scaled(0.6)
    assert "is archived" in browser.text("answer")
    assert browser.messages() == []


def test_a_stray_number_far_away_does_no_harm(browser: Browser, tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.record(*range(1, 40), 900_000_000_000_000)

    browser.open(written(site, tmp_path / "status.html"))

    browser.driver.find_element(By.ID, "run").send_keys("39")
    assert "Run 39 waits" in browser.text("answer")
    assert browser.messages() == []


def test_a_page_that_nobody_renews_says_so(browser: Browser, shown: Path) -> None:
    old = shown.with_name("old.html")
    old.write_text(re.sub(r'(As of <time datetime=")[^"]*', r"\g<1>2024-01-01T00:00:00Z", shown.read_text()))

    browser.open(old)

    assert browser.text("stale").startswith("This page was written")
    assert "Does the archiver still run?" in browser.text("stale")


def test_without_javascript_all_but_map_and_search_is_there(browser: Browser, shown: Path) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(shown)
        text = browser.driver.find_element(By.TAG_NAME, "body").text
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})

    for expected in ("NOT SAFE", "What to do", "metadata.txt is missing", "250\N{EN DASH}259"):
        assert expected in text


def test_an_archive_without_runs_has_a_page_too(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(Site(tmp_path), tmp_path / "status.html"))

    assert browser.text("answer") == "No run is known yet."
    assert browser.messages() == []


def check(name: str) -> str:
    """A script that looks for faults of the page."""
    return (Path(__file__).parent / "page_checks" / f"{name}.js").read_text()


# ---- hands and eyes ------------------------------------------------------------------------------------------------


def keys(browser: Browser, *pressed: str) -> None:
    for each in pressed:
        ActionChains(browser.driver).send_keys(each).perform()


def tab_to(browser: Browser, identifier: str) -> None:
    for _ in range(20):
        keys(browser, Keys.TAB)
        if browser.run("return document.activeElement.id") == identifier:
            return
    pytest.fail(f"the Tab key never reaches {identifier}")


def hover(browser: Browser, identifier: str) -> None:
    """Point at the third cell of the first row."""
    canvas = browser.driver.find_element(By.CSS_SELECTOR, f"#{identifier} canvas")
    across, down = 70 - canvas.size["width"] // 2, 12 - canvas.size["height"] // 2
    ActionChains(browser.driver).move_to_element_with_offset(canvas, across, down).perform()


def shown_failures(browser: Browser) -> list[str]:
    rows = browser.driver.find_elements(By.CSS_SELECTOR, "#failures tbody tr")
    return [row.find_element(By.TAG_NAME, "td").text for row in rows if row.is_displayed()]


def many(shown: Path) -> Path:
    """The same page with 100,000 runs in it, every hundredth of them failed."""
    data = {
        "segments": [
            each for n in range(1000) for each in ([1 + n * 100, 99, 0], [100 + n * 100, 1, 2 if n < 999 else 0])
        ],
        "runs": {
            "imported": ",".join(["1764000000", *["60"] * 99_999]),
            "migrated": ",".join(["5"] * 100_000),
            "size": ",".join(["27113"] * 100_000),
            "configuration": ",".join(["0"] * 100_000),
            "configurations": ["standard"],
            "unverified": [],
        },
        "reasons": [],
        "changes": {},
    }
    found = shown.with_name("many.html")
    element = r'(<script type="application/json" id="data">).*?(</script>)'
    found.write_text(re.sub(element, lambda m: m[1] + json.dumps(data) + m[2], shown.read_text(), flags=re.DOTALL))
    return found
