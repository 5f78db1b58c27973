"""Hooks of MkDocs for pages outside docs/, and for links from docs/ to other files.

README.md becomes the first page; any file that a page links to and that is no page is copied into the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parent.parent
OUTSIDE = {
    "README.md": "index.md",
    "config/README.md": "keys.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
    "ansible/roles/run_record_archiver/README.md": "role_run_record_archiver.md",
    "ansible/roles/ucondb_dev/README.md": "role_ucondb_dev.md",
}
"""Pages of the site that do not lie in docs/, and what they are called there."""

_LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)#\s]+)(?=[#)])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside, and every file that a page links to."""
    for path, name in OUTSIDE.items():
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / path)))
    for page in files.documentation_pages():
        for target in _LINK.findall(page.content_string):
            path = _in_repository(page.src_uri, target)
            name = _in_site(path)
            if files.get_file_from_path(name) is None and (REPOSITORY / path).is_file():
                files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Replace the target of every link by its place in the site."""
    origin = page.file.src_uri
    return _LINK.sub(lambda found: _from(origin, _in_site(_in_repository(origin, found[1]))), markdown)


def _in_repository(page: str, target: str) -> str:
    """What a page of the site links to, as a path in the repository."""
    origin = {name: path for path, name in OUTSIDE.items()}.get(page, f"docs/{page}")
    parts: list[str] = []
    for part in (PurePosixPath(origin).parent / target).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _in_site(path: str) -> str:
    """Where a file of the repository is in the site: pages of docs/ as they lie there, other files below files/."""
    return OUTSIDE.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}")


def _from(page: str, target: str) -> str:
    """A path in the site as a link from a page of it.

    >>> _from("design/state.md", "design/fhicl.md"), _from("design/state.md", "stores.md"), _from("index.md", "keys.md")
    ('fhicl.md', '../stores.md', 'keys.md')
    """
    return posixpath.relpath(target, posixpath.dirname(page) or ".")
