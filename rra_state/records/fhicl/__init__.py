"""FHiCL, the language of the records: read, judge, evaluate and write it. Imports no other part of the archiver.

`dump`, `meaning` and `values` evaluate a document; `snippet` and `checked_snippet` give what artdaqDB stores of it.
"""

from __future__ import annotations

from rra_state.base.errors import FhiclError
from rra_state.records.fhicl.evaluate import evaluate
from rra_state.records.fhicl.parse import parse
from rra_state.records.fhicl.snippet import NO_COMMENTS, ORJSON_BYTES, Snippet, checked_snippet, from_snippet, snippet
from rra_state.records.fhicl.write import Plain, atom, name, plain, quote, render, sequence, unescape, unquote

__all__ = [
    "NO_COMMENTS",
    "ORJSON_BYTES",
    "Snippet",
    "atom",
    "checked_snippet",
    "dump",
    "from_snippet",
    "meaning",
    "name",
    "quote",
    "sequence",
    "snippet",
    "unescape",
    "unquote",
    "values",
]


def dump(text: str | bytes) -> str:
    """The evaluated document, keys sorted, exactly as the real `fhicl-dump` prints it.

    Raises FhiclError, with the line, if the real parser would refuse the document.
    """
    return render(evaluate(parse(text)))


def meaning(text: bytes) -> str | bytes:
    """What `dump` gives; of anything that is not FHiCL the text itself."""
    try:
        return dump(text)
    except FhiclError:
        return text


def values(text: str | bytes) -> dict[str, Plain]:
    """The evaluated document as Python values; see `plain` for how each kind is given. Raises FhiclError."""
    return {key: plain(value, 1) for key, value in evaluate(parse(text)).items.items()}
