"""No secret in anything that the archiver writes, says, or shows in the list of processes."""

from __future__ import annotations

import time
from pathlib import Path

from tests.acceptance.site import Site

SMTP = "smtp-secret-71c2"
SLACK = "xoxb-slacksecret93ab"


def test_no_secret_appears_in_files_output_tracebacks_or_the_process_list(site: Site) -> None:
    site.make(120)
    wrong = "unguessable-4f6b"
    site.configure(
        app={"log_file": str(site.work / "archiver.log"), "log_level": "DEBUG"},
        reporting={
            "email": {"enabled": True, "recipient_email": "a@b.invalid", "smtp_host": "127.0.0.1", "smtp_port": 9,
                      "smtp_user": "me", "smtp_password": SMTP},
            "slack": {"enabled": True, "bot_token": SLACK, "channel": "#daq"},
        },
    )  # fmt: skip
    secrets = [site.ucondb.password, wrong, SMTP, SLACK]

    cycle = site.start(site.command("-v"))
    commands = set()
    while cycle.poll() is None and len(commands) < 100_000:
        commands |= _commands()
        time.sleep(0.05)
    said = cycle.communicate()[0]
    site.ucondb.password, right = wrong, site.ucondb.password
    site.configure()
    site.make(5, first_run=500)
    said += "".join(site.archive_runs("-v", status=None).stderr for _ in range(2))
    site.ucondb.password = right
    said += site.archive_runs("--report-status", status=None).stdout

    assert cycle.returncode == 0, said
    assert "(401)" in said
    for secret in secrets:
        assert secret not in said
        assert not [command for command in commands if secret.encode() in command]
        holding = [path for path in site.work.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
        assert holding == []


def _commands() -> set[bytes]:
    found = set()
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.add(process.read_bytes())
        except OSError:
            continue
    return found
