"""The documentation as a site: it builds without a warning, its links lead somewhere, and it needs no network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from scripts import docs_site
from tests import browser
from tests.paths import REPOSITORY
from tests.waiting import scaled, wait_until

GENERATED = set(docs_site.OUTSIDE.values())
"""Pages of the site that do not lie in docs/."""


class _Document(HTMLParser):
    """Anchors, links, and what a browser loads by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors |= {str(values[name]) for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))
        elif tag in ("script", "img", "iframe", "source") and values.get("src"):
            self.loaded.append(str(values["src"]))
        elif tag == "link" and values.get("href") and values.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(str(values["href"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, _Document]:
    """Every page of the site that `make docs` makes."""
    root = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(root)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: _Document(path.read_text()) for path in sorted(root.rglob("*.html")) if path.name != "404.html"}


def test_every_link_of_the_site_leads_somewhere(site: dict[Path, _Document]) -> None:
    broken = []
    for page, document in site.items():
        for link in document.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (target in site and unquote(parts.fragment) not in site[target].anchors):
                broken.append(f"{page.name}: {link}")

    assert broken == []


def test_a_reader_without_network_misses_nothing(site: dict[Path, _Document]) -> None:
    loaded = {(page, link) for page, document in site.items() for link in document.loaded}

    assert [link for _, link in loaded if urlsplit(link).netloc] == []
    assert [link for page, link in loaded if not (page.parent / urlsplit(link).path).exists()] == []


def test_case_f_the_search_works_in_pages_opened_from_the_disk(site: dict[Path, _Document]) -> None:
    page = next(path for path in site if path.name == "decisions.html")
    results = "return document.querySelectorAll('.md-search-result__link').length"

    with browser.running() as window:
        window.open(page)
        window.run("document.querySelector('.md-search__input').focus()")
        field = window.driver.switch_to.active_element
        typed: list[float] = []

        def found() -> object:
            """Type it, and again if nothing comes of it: what is typed before the search is ready is lost."""
            if not typed or time.monotonic() - typed[-1] > scaled(1):
                if typed:
                    field.clear()
                field.send_keys("quiet_seconds")
                typed.append(time.monotonic())
            return window.run(results)

        wait_until(found, 10, "nothing was found")


def test_every_page_can_be_reached_from_the_menu() -> None:
    def pages(entry: object) -> set[str]:
        values = entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else None
        return {str(entry)} if values is None else set().union(*map(pages, values))

    menu = pages(yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"])

    docs = REPOSITORY / "docs"
    assert menu == {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} | GENERATED
