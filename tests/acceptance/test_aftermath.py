"""What follows a cycle of the real command line, whatever way the cycle ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rra_state.monitoring import changes
from scripts.make_run_records import make_records
from tests import mailbox
from tests.acceptance.guide import without_root_powers
from tests.site import Site
from tests.unit.monitoring.test_metrics import Numbers, read
from tests.waiting import scaled, wait_until

pytestmark = pytest.mark.in_process


@pytest.fixture
def numbers(site: Site) -> Callable[[], Numbers]:
    """The metrics as Prometheus reads them."""
    path = Path(site.root / "rra.prom")
    site.configure(metrics={"prometheus_file": str(path)})
    return lambda: read(path.read_text())


def test_a_cycle_ends_with_its_metrics(site: Site, numbers: Callable[[], Numbers]) -> None:
    make_records(4, site.records, first_run=1, breaks={3: "empty"})

    site.real_archive_runs(status=1)

    found = numbers()
    assert found["rra_runs", "archived"] == found["rra_cycle_runs", "migrate", "archived"] == 3
    assert found["rra_failures", "import", "RecordError"] == found["rra_cycle_runs", "import", "failed"] == 1
    assert found["rra_cycle_good",] == 1, "a bad record is no error of a site"
    assert found["rra_stored_bytes_total", "migrate"] == sum(map(len, site.blobs().values()))


def test_a_cycle_that_an_outage_ends_says_so(site: Site, numbers: Callable[[], Numbers]) -> None:
    site.make(3)
    site.ucondb.stop()

    done = site.archive_runs("-q", status=1)

    found = numbers()
    assert found["rra_cycle_good",] == 0
    assert found["rra_stage_runs", "migrate", "waiting"] == 3
    assert found["rra_retries_total", "migrate"] >= 2
    assert ("rra_success_timestamp_seconds", "migrate") not in found
    assert len(done.stderr.splitlines()) == 1


def test_a_cycle_that_cannot_begin_says_so(site: Site, numbers: Callable[[], Numbers]) -> None:
    site.records.rmdir()

    site.archive_runs("--incremental", status=1)

    found = numbers()
    assert found["rra_cycle_good",] == 0
    assert ("rra_runs", "archived") not in found


def test_an_interrupted_cycle_ends_with_its_metrics(site: Site, numbers: Callable[[], Numbers]) -> None:
    site.make(200)
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 20)

    os.kill(cycle.pid, signal.SIGTERM)
    cycle.communicate(timeout=scaled(30))

    found = numbers()
    assert cycle.returncode == 130
    assert found["rra_cycle_good",] == 0
    assert found["rra_stage_runs", "import", "archived"] == len(site.markers("import"))


def test_a_plain_snakemake_ends_with_its_metrics(site: Site, numbers: Callable[[], Numbers]) -> None:
    site.make(3)

    site.snakemake("import_all")

    found = numbers()
    assert found["rra_cycle_runs", "import", "archived"] == 3
    assert ("rra_success_timestamp_seconds", "migrate") not in found


# ---- messages ------------------------------------------------------------------------------------------------------


@pytest.fixture
def box(site: Site) -> Iterator[mailbox.Mailbox]:
    with mailbox.mail_server() as server:
        site.configure(reporting={"email": _mail(server.port)})
        yield server


def _mail(port: int) -> dict[str, object]:
    return {"enabled": True, "recipient_email": "shift@example.org", "smtp_host": "127.0.0.1", "smtp_port": port}


def test_an_outage_and_its_end_are_reported_once(
    site: Site, box: mailbox.Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.make(3)
    site.ucondb.stop()
    for _ in range(2):
        site.archive_runs("--incremental", status=1)
    site.ucondb.start()

    site.archive_runs("--incremental")
    assert len(box.titles) == 1, "it may go again within the hour"
    monkeypatch.setattr(changes, "WELL_SECONDS", 0)
    site.archive_runs("--incremental")
    site.archive_runs("--incremental")

    assert [title.rpartition(": ")[2] for title in box.titles] == ["cycles end by an error", "cycles go well again"]
    assert f"./run_archiver.sh {site.config} --check" in box.texts[0]
    assert "Now: 0 archived, 3 waiting, 0 failed, 0 still being written." in box.texts[0]


def test_a_failed_run_is_reported_with_the_command_that_repairs(site: Site, box: mailbox.Mailbox) -> None:
    make_records(3, site.records, first_run=1, breaks={2: "empty"})
    site.archive_runs(status=1)
    site.archive_runs("--incremental")
    make_records(1, site.records, first_run=2)

    site.archive_runs(*_command_in(box.texts[0], site))
    site.archive_runs("--incremental")

    assert [title.rpartition(": ")[2] for title in box.titles] == ["1 run failed", "1 run recovered"]
    assert "the record holds no file to archive" in box.texts[0]


def _command_in(text: str, site: Site) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith("Once that is repaired: ")]
    return line.partition(f"./run_archiver.sh {site.config} ")[2].split()


def test_each_cycle_reports_a_work_directory_it_cannot_write(site: Site, box: mailbox.Mailbox) -> None:
    site.make(1)
    site.archive_runs()
    (site.work / "state").chmod(0o555)
    site.work.chmod(0o555)
    for _ in range(2):
        done = site.start(without_root_powers(site.command("--incremental")))
        output, _ = done.communicate(timeout=scaled(30))
        assert done.returncode == 1, output
    (site.work / "state").chmod(0o755)
    site.work.chmod(0o755)

    site.archive_runs("--incremental")

    # That a message was sent could not be written down: it is sent again, and nothing is left to take back.
    assert [title.rpartition(": ")[2] for title in box.titles] == ["cycles end by an error"] * 2
    assert all("permission denied" in text.lower() for text in box.texts)


def test_a_mail_server_that_is_down_fails_no_cycle(site: Site) -> None:
    make_records(2, site.records, first_run=1, breaks={2: "empty"})
    site.configure(reporting={"email": _mail(9)})

    failed = site.archive_runs(status=1)
    idle = site.archive_runs("--incremental")

    assert "run 2: " in failed.stderr
    assert "1 run into artdaqDB (1 failed)" in failed.stderr
    assert "mail to shift@example.org: the message was not sent: " in failed.stderr
    assert "the message was not sent: " in idle.stderr
    assert site.state("import") == {"last_contiguous_run": 1, "last_attempted_run": 2}


def test_a_plain_snakemake_tells_too(site: Site, box: mailbox.Mailbox) -> None:
    make_records(2, site.records, first_run=1, breaks={2: "empty"})

    site.snakemake(status=1)

    assert [title.rpartition(": ")[2] for title in box.titles] == ["1 run failed"]


def test_an_idle_cycle_loads_neither_apprise_nor_pandas(site: Site, box: mailbox.Mailbox) -> None:
    site.make(1)
    site.archive_runs()
    program = (
        "import sys; from rra_state.cli.main import main;"
        f" assert main([{str(site.config)!r}, '--incremental']) == 0; print({{'apprise', 'pandas'}} & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=scaled(60), check=True
    )

    assert done.stdout == "set()\n"
    assert box.mails == []


def test_a_test_message_reaches_everybody_or_says_why_not(site: Site, box: mailbox.Mailbox) -> None:
    assert "mail server: OK" in site.archive_runs("--check").stdout

    assert site.archive_runs("--test-message").stdout == "mail to shift@example.org: OK\n"

    assert box.titles[0].endswith(": test")
    site.configure(reporting={"email": _mail(9)})
    assert "mail to shift@example.org: FAILED (" in site.archive_runs("--test-message", status=1).stdout
    assert "mail server: FAILED (127.0.0.1:9 cannot be reached" in site.archive_runs("--check", status=1).stdout
    site.configure(reporting={"email": {"enabled": False}})
    assert "no channel for messages is configured" in site.archive_runs("--test-message", status=1).stderr
