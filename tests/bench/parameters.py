"""Parameters of 5,000 runs, whose documents differ from run to run: nothing is read or parsed less often than that."""

from __future__ import annotations

from collections.abc import Iterator

from rra_state.records import convert
from scripts.make_run_records import make_records
from tests.bench.measure import repeated
from tests.bench.rows import Measured
from tests.bench.sites import KINDS, BenchSite, Hall
from tests.records import read_record

PATTERNS = {"one": "EventBuilder1.daq.eventbuilder.generator", "any": "*.boardreader.generator"}
_AT_ONCE = 50


def parameters(hall: Hall) -> Iterator[Measured]:
    """A pattern that names a component, and one for any."""
    for kind in KINDS:
        site = hall.site(kind)
        _fill(site, hall.size(5000))
        for name, pattern in PATTERNS.items():
            options = ("--parameters", pattern, "--format", "csv")
            taken = repeated(lambda site=site, options=options: site.cycle(*options).seconds)  # type: ignore[misc]
            yield Measured(f"parameters-{name}-{kind}", taken)


def _fill(site: BenchSite, number: int) -> None:
    """Store so many runs in artdaqDB, and nothing else of them."""
    store = site.archive
    for first in range(1, number + 1, _AT_ONCE):
        runs = range(first, min(first + _AT_ONCE, number + 1))
        make_records(len(runs), site.records, first_run=first)
        records = [convert.convert(read_record(site.records / str(run), run)) for run in runs]
        staged = store.stage(records, {})
        store.publish([each for each in staged if not isinstance(each, Exception)])
