"""The sample vectors, judged by the real FHiCL library, and the records DAQInterface wrote."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from rra_state.base.errors import FhiclError
from rra_state.records import fhicl
from tests.samples import RECORDS, VECTORS, with_real_records

JUDGED: list[dict[str, Any]] = json.loads(VECTORS.read_text())

# The real library names no line, names the end of the file, or names the line of the first definition.
OTHER_LINE = {"protect_error"}

# The real library can not read what it prints: sorted, a parameter of this name comes first and begins a prolog.
NOT_READ_BACK = {"begin_prolog_name_later"}


@pytest.mark.parametrize("vector", JUDGED, ids=[vector["name"] for vector in JUDGED])
def test_vectors_are_judged_and_printed_as_the_real_parser_does(vector: dict[str, Any]) -> None:
    if vector["valid"]:
        assert fhicl.dump(vector["text"]) == vector["dump"]
        assert fhicl.dump(vector["text"].encode()) == vector["dump"]
        if vector["name"] not in NOT_READ_BACK:
            assert fhicl.dump(fhicl.dump(vector["text"])) == vector["dump"]
        return

    with pytest.raises(FhiclError) as caught:
        fhicl.values(vector["text"])

    assert caught.value.line is not None
    theirs = re.search(r"line (\d+)", vector["error"])
    if theirs and int(theirs[1]) > 0 and vector["name"] not in OTHER_LINE:
        assert caught.value.line == int(theirs[1])


@with_real_records
def test_of_the_largest_record_exactly_one_file_is_not_fhicl() -> None:
    refused = {}
    for path in (RECORDS / "7027").glob("*.fcl"):
        try:
            fhicl.checked_snippet(path.read_bytes())
        except FhiclError as error:
            refused[path.name] = error

    assert list(refused) == ["wibtest.fcl"]
    assert refused["wibtest.fcl"].line == 326
    assert '"FEMBs" is not a sequence' in refused["wibtest.fcl"].message


@with_real_records
@pytest.mark.parametrize("run", ["7001", "7026", "7042", "7056"])
def test_a_record_keeps_its_values_through_the_snippet(run: str) -> None:
    for path in (RECORDS / run).glob("*.fcl"):
        snippet = fhicl.snippet(path.read_bytes())

        text = fhicl.from_snippet({"data": snippet.data, "metadata": snippet.metadata})

        assert fhicl.dump(text) == fhicl.dump(path.read_bytes())
