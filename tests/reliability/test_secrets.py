"""No secret in anything that the archiver writes, says, sends, or shows in the list of processes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scripts.make_run_records import make_records
from tests import mailbox
from tests.reliability import vitals
from tests.site import Site

SLACK = "xoxb-slacksecret93ab"
WRONG = "unguessable-4f6b"


@dataclass
class Seen:
    """What any user of the host sees of processes, and what is in the environment of the archiver's own."""

    commands: set[bytes] = field(default_factory=set)
    environments: set[bytes] = field(default_factory=set)
    processes: set[str] = field(default_factory=set)

    def look(self, session: int) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            self._add(self.commands, process / "cmdline")
        for process in vitals.members(session):
            self.processes.add(process.name)
            self._add(self.environments, process / "environ")

    @staticmethod
    def _add(found: set[bytes], file: Path) -> None:
        try:
            found.add(file.read_bytes())
        except OSError:
            return


def _configure(site: Site, mail_port: int) -> None:
    site.configure(
        app={"log_file": str(site.work / "archiver.log"), "log_level": "DEBUG"},
        reporting={
            "email": {"enabled": True, "recipient_email": "shift@example.org", "smtp_host": "localhost",
                      "smtp_port": mail_port, "smtp_user": mailbox.USER, "smtp_password": mailbox.PASSWORD},
            "slack": {"enabled": True, "bot_token": SLACK, "channel": "#daq"},
            "html_file": str(site.work / "page.html"),
        },
        metrics={"prometheus_file": str(site.work / "rra.prom")},
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore:Requiring AUTH")
def test_no_secret_appears_anywhere(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody is to be told of this in the real Slack
    site.make(120)
    make_records(3, site.records, first_run=200, breaks={201: "empty"})
    secrets = [site.ucondb.password, WRONG, mailbox.PASSWORD, SLACK]
    seen, said = Seen(), ""

    with mailbox.mail_server(login=True) as box:
        _configure(site, box.port)
        cycle = site.start(site.command("-v"))
        while cycle.poll() is None:
            seen.look(cycle.pid)
            time.sleep(0.05)
        said += cycle.communicate()[0]
        site.ucondb.password, right = WRONG, site.ucondb.password
        site.make(5, first_run=500)
        _configure(site, box.port)
        said += "".join(site.archive_runs("-v", status=None).stderr for _ in range(2))
        site.ucondb.password = right
        _configure(site, box.port)
        for options in (["--report-status"], ["--report-status", "--format", "json"], ["--check"], ["--show", "1"]):
            done = site.archive_runs(*options, status=None)
            said += done.stdout + done.stderr
        said += site.snakemake(status=None).stderr
    said += "".join(str(mail) for mail in box.mails) + "".join(box.texts)

    assert "(401)" in said
    assert "Traceback" in said
    assert box.texts
    assert len(seen.processes) > 1
    assert seen.environments
    assert (site.work / "page.html").exists()
    assert (site.work / "rra.prom").exists()
    for secret in secrets:
        assert secret not in said
        assert not [command for command in seen.commands if secret.encode() in command]
        assert not [environment for environment in seen.environments if secret.encode() in environment]
        holding = [path for path in site.work.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert holding == []


@pytest.mark.in_process
def test_a_readable_password_gives_a_warning_every_time(site: Site) -> None:
    site.make(2)
    site.config.chmod(0o644)
    words = f"{site.config} holds a secret (ucon_db.writer_password) and can be read by other accounts"

    check = site.archive_runs("--check")
    cycles = [site.archive_runs(), site.archive_runs("--incremental")]
    plain = site.snakemake()

    assert f"caution: {words}" in check.stdout
    assert all(cycle.stderr.count(words) == 1 for cycle in cycles)
    assert plain.stderr.count(words) == 1
    site.config.chmod(0o600)
    assert words not in site.archive_runs().stderr
    assert "caution" not in site.archive_runs("--check").stdout
