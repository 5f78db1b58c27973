"""Pages of which a part between two comments is made by a script."""

from __future__ import annotations


def renewed(text: str, begin: str, end: str, content: str, page: str) -> str:
    """The text with `content` between its two comments. Raises ValueError, naming `page`, if one of them is missing."""
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} lacks one of the marker comments {begin} and {end}")
    return f"{before}{begin}\n\n{content}\n{end}{after}"
