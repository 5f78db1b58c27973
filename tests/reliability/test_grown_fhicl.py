"""FHiCL that is grown definition by definition means what a model says that shares nothing."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reliability.grown_fhicl import check


@given(st.binary(min_size=20, max_size=400))
@settings(max_examples=150)
def test_grown_documents_mean_what_the_model_says(data: bytes) -> None:
    check(data)


def test_grown_documents_are_taken_and_refused() -> None:
    numbers = random.Random(1)
    counts = [check(numbers.randbytes(600)) for _ in range(150)]

    taken, refused = (sum(each) for each in zip(*counts, strict=True))

    assert taken > 1000
    assert refused > 300
