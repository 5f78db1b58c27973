"""What each channel was sent is remembered over restarts."""

from __future__ import annotations

import pytest

from rra_state.base.errors import WorkDirError
from rra_state.monitoring.changes import Delivered, Episode, Fault
from rra_state.monitoring.delivered import keep, known
from tests.unit.archive_site import Site

TOLD = Delivered(
    {"import": frozenset({1, 2, 3, 9}), "migrate": frozenset(), "refresh": frozenset({4}), "verify": frozenset()},
    frozenset({"migrate"}),
    frozenset({"import"}),
    Episode(Fault("AccessDenied", ("import", "migrate"), "wrong password"), frozenset({"AccessDenied"}), 1.0, 2.0, 3.0),
)


def test_what_was_told_is_known_after_a_restart(site: Site) -> None:
    keep(site.tree, {"mail": TOLD})

    assert known(site.tree) == {"mail": TOLD}


@pytest.mark.parametrize("damage", ["{", "[]", '{"mail": {"failed": {"import": "x"}}}', '{"mail": 1}'])
def test_a_damaged_note_counts_as_none(site: Site, damage: str) -> None:
    (site.tree.root / "state" / "told.json").write_text(damage)

    assert known(site.tree) == {}


def test_a_note_that_cannot_be_written_keeps_the_old_one(site: Site) -> None:
    keep(site.tree, {"mail": TOLD})
    (site.tree.root / "state" / "told.json").with_name(".told.json.tmp").mkdir()

    with pytest.raises(WorkDirError):
        keep(site.tree, {"mail": Delivered()})

    assert known(site.tree) == {"mail": TOLD}
