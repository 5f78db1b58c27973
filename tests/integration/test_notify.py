"""Messages on their way: real mail, Slack's protocol, any address of apprise; what fails, and how it is told."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from rra_state.base.errors import Conflict, NotSent, StoreUnavailable
from rra_state.config.loading import Settings
from rra_state.config.models import Email, Reporting, Slack
from rra_state.monitoring import after_cycle, channels
from rra_state.monitoring.channels import Channel
from rra_state.monitoring.messages import Message
from rra_state.state.outcome import Failure, Outcome, Stage
from rra_state.state.tally import Ended
from tests import mailbox, ports
from tests.mailbox import PASSWORD, USER
from tests.unit.archive_site import Site
from tests.waiting import scaled

pytestmark = [  # of aiosmtpd's own
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
    pytest.mark.filterwarnings("ignore:Session.login_data is deprecated:DeprecationWarning"),
]
BOTH: tuple[Stage, ...] = ("import", "migrate")
BAD = Message("2 runs failed", "run 7: <b>broken</b> & odd: é *x*\n    ./run_archiver.sh /etc/a_b.yaml\n", bad=True)
GOOD = Message("1 run recovered", "run 7\n", bad=False)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in mailbox.trusted(authority, tmp_path).items():
        monkeypatch.setenv(name, value)


def mail(port: int, **changes: object) -> Email:
    values = {
        "enabled": True,
        "recipient_email": "shift@example.org",
        "sender_email": "archiver@daq01.example.org",
        "smtp_host": "localhost",
        "smtp_port": port,
    }
    return Email.model_validate(values | changes)


def reporting(site: Site, **changes: object) -> Settings:
    return site.settings.model_copy(update={"reporting": Reporting.model_validate(changes)})


def only(settings: Settings) -> Channel:
    [way] = channels.channels(settings)
    return way


def send_all(settings: Settings, words: Message) -> None:
    for way in channels.channels(settings):
        channels.send(way, words)


# ---- mail ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["shift@example.org", "Run Coordinator <rc@example.org>"],
        "shift@example.org, Run Coordinator <rc@example.org>",
    ],
)
def test_mail_reaches_everybody_as_it_was_written(site: Site, names: str | list[str]) -> None:
    with mailbox.mail_server() as box:
        send_all(reporting(site, email=mail(box.port, recipient_email=names)), BAD)

    assert box.recipients == [["shift@example.org"], ["rc@example.org"]]
    assert box.titles[0] == BAD.title
    assert box.texts[0].splitlines() == BAD.text.splitlines()
    assert box.mails[0]["From"] == "archiver@daq01.example.org"
    assert box.mails[0].get_content_type() == "text/plain"


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("login", [False, True])
@pytest.mark.parametrize("tls", [False, True])
def test_mail_goes_with_and_without_starttls_and_login(
    site: Site, authority: trustme.CA, tls: bool, login: bool
) -> None:
    secrets = {"smtp_user": USER, "smtp_password": PASSWORD} if login else {}
    with mailbox.mail_server(authority=authority if tls else None, login=login) as box:
        channels.send(only(reporting(site, email=mail(box.port, smtp_use_tls=tls, **secrets))), BAD)

    assert box.encrypted == [tls]
    assert box.logins == ([USER] if login else [])


def test_an_unknown_certificate_is_refused_unless_configured(site: Site, authority: trustme.CA) -> None:
    with mailbox.mail_server(authority=authority) as box:
        with pytest.raises(NotSent, match=r"(?i)certificate"):
            channels.send(only(reporting(site, email=mail(box.port, smtp_use_tls=True))), BAD)
        assert box.mails == []

        channels.send(only(reporting(site, email=mail(box.port, smtp_use_tls=True, verify_tls=False))), BAD)

    assert box.encrypted == [True]


def test_a_wrong_password_is_told_without_it(site: Site) -> None:
    with mailbox.mail_server(login=True) as box:
        way = only(reporting(site, email=mail(box.port, smtp_user=USER, smtp_password="wrong-secret")))
        with pytest.raises(NotSent, match="535") as refused:
            channels.send(way, BAD)

    assert "wrong-secret" not in str(refused.value)


def test_a_password_that_smtp_cannot_carry_is_named(site: Site) -> None:
    with mailbox.mail_server(login=True) as box:
        way = only(reporting(site, email=mail(box.port, smtp_user=USER, smtp_password="é")))
        with pytest.raises(NotSent, match="ASCII only"):
            channels.send(way, BAD)


def test_an_address_that_is_none_costs_the_others_nothing(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.record(1)
    site.fail("import", 1)
    with mailbox.mail_server() as box, caplog.at_level(logging.WARNING, "rra"):
        settings = reporting(site, email=mail(box.port, recipient_email=["nobody", "b@example.org"]))
        after_cycle.run(settings, Ended(BOTH, 1))
        after_cycle.run(settings, Ended(BOTH, 1))

    assert box.recipients == [["b@example.org"]], "told once, though the other is tried again and again"
    assert "mail to nobody: the message was not sent: Dropped invalid To email (nobody) specified." in caplog.text


# ---- Slack ---------------------------------------------------------------------------------------------------------

TOKEN = "xoxb-1234-1234-4ddbc191d40ee098cbaae6f3523ada2d"


@pytest.mark.usefixtures("trusting")
def test_slack_gets_the_message_with_its_mentions(
    site: Site, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    section = Slack(enabled=True, bot_token=SecretStr(TOKEN), channel="#daq-alerts", mention_users=["U6TTX1F9R"])
    way = only(reporting(site, slack=section))
    with mailbox.slack(authority) as slack:
        monkeypatch.setenv("HTTPS_PROXY", slack.proxy)
        channels.send(way, BAD)
        channels.send(way, GOOD)

    line, authorization, body = slack.requests[0]
    assert line == "POST /api/chat.postMessage HTTP/1.1"
    assert authorization == f"Bearer {TOKEN}"
    assert body["channel"] == "#daq-alerts"
    [attachment] = body["attachments"]
    assert attachment["title"] == BAD.title
    assert attachment["text"].startswith("<@U6TTX1F9R>\nrun 7: &lt;b&gt;broken&lt;/b&gt; &amp; odd: é *x*\n")
    assert "<@" not in slack.requests[1][2]["attachments"][0]["text"], "good news call nobody"


@pytest.mark.usefixtures("trusting")
def test_slack_that_refuses_says_why(site: Site, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    section = Slack(enabled=True, bot_token=SecretStr(TOKEN), channel="C0123456789")
    with mailbox.slack(authority) as slack:
        monkeypatch.setenv("HTTPS_PROXY", slack.proxy)
        slack.answer = {"ok": False, "error": "not_in_channel"}
        with pytest.raises(NotSent, match="not_in_channel"):
            channels.send(only(reporting(site, slack=section)), BAD)

    assert slack.requests[0][2]["channel"] == "C0123456789"


# ---- any address ---------------------------------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A web service on loopback that takes JSON; its port and what it got. `/refuse` is answered with 403."""
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            refused = "refuse" in self.path
            if not refused:
                got.append(json.loads(content))
            self.send_response(403 if refused else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1], got
        server.shutdown()
        thread.join()


def test_any_address_of_apprise_is_told(site: Site, hook: tuple[int, list[dict[str, str]]]) -> None:
    port, got = hook

    channels.send(only(reporting(site, urls=[f"json://user:secret@127.0.0.1:{port}/a"])), BAD)

    assert (got[0]["title"], got[0]["message"].strip(), got[0]["type"]) == (BAD.title, BAD.text.strip(), "failure")


def test_an_address_that_is_none_is_told_without_its_secrets(site: Site) -> None:
    with pytest.raises(NotSent) as refused:
        channels.send(only(reporting(site, urls=["nosuch://secret-token-1234@host"])), BAD)

    assert "secret-token" not in str(refused.value)


def test_refusals_and_dead_hosts_are_reported_without_secrets(
    site: Site, hook: tuple[int, list[dict[str, str]]]
) -> None:
    with ports.reserved() as closed:
        for port, path in ((hook[0], "refuse/secret-token-1234"), (closed, "secret%2Dtoken-1234")):
            with pytest.raises(NotSent) as refused:
                channels.send(only(reporting(site, urls=[f"json://127.0.0.1:{port}/{path}"])), BAD)

            assert str(refused.value) != NotSent.__doc__
            assert "token" not in str(refused.value)


# ---- a cycle and its messages --------------------------------------------------------------------------------------


def test_one_message_a_cycle_and_only_if_something_changed(site: Site) -> None:
    site.record(*range(1, 6))
    site.archive("import", 1, 5)
    site.archive("migrate", 1, 5)
    site.fail("import", 2, 3)
    site.fail("import", 4, message="is worse")
    with mailbox.mail_server() as box:
        settings = reporting(site, email=mail(box.port))
        after_cycle.run(settings, Ended(BOTH, 1))
        after_cycle.run(settings, Ended(BOTH, 1))
        assert len(box.mails) == 1
        site.archive("import", 2, 3, 4)
        after_cycle.run(settings, Ended(BOTH, 1, fault=StoreUnavailable("UconDB did not answer")))

    first, second = box.texts
    assert "3 runs failed (import): 2-4" in first
    assert "run 2: is broken [RecordError, 2 runs]" in first
    assert f"./run_archiver.sh {settings.path} --retry-failed-import" in first
    assert "Now: 2 archived, 0 waiting, 3 failed, 0 still being written." in first
    assert "UconDB did not answer" in second
    assert "3 runs no longer failed (import): 2-4" in second


def test_a_changed_record_that_cannot_be_archived_again_is_told(site: Site) -> None:
    site.record(1)
    site.archive("import", 1)
    site.archive("migrate", 1)
    outcome = Outcome(1, error=Conflict("UconDB holds another blob", run=1))
    site.tree.write_failed_refresh(Failure.of("refresh", outcome, None), "1-1f2e3d4c")
    with mailbox.mail_server() as box:
        after_cycle.run(reporting(site, email=mail(box.port)), Ended(BOTH, 1))

    assert "1 run failed (refresh): 1\n    run 1: UconDB holds another blob [Conflict]" in box.texts[0]


def test_only_the_channel_that_failed_is_sent_again(
    site: Site, hook: tuple[int, list[dict[str, str]]], caplog: pytest.LogCaptureFixture
) -> None:
    site.record(1)
    site.fail("import", 1)
    with mailbox.mail_server() as box:
        port = box.port
    changes = {"urls": [f"json://127.0.0.1:{hook[0]}/"], "email": mail(port)}
    settings = reporting(site, **changes)

    with caplog.at_level(logging.WARNING, "rra"):
        after_cycle.run(settings, Ended(BOTH, 1))
    assert "mail to shift@example.org: the message was not sent: " in caplog.text
    assert len(hook[1]) == 1

    with mailbox.mail_server() as box:
        settings = reporting(site, **changes | {"email": mail(box.port)})
        after_cycle.run(settings, Ended(BOTH, 1))
        after_cycle.run(settings, Ended(BOTH, 1))

    assert len(box.mails) == len(hook[1]) == 1


def test_a_silent_mail_server_does_not_hold_the_cycle(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(channels, "LIMIT_SECONDS", 0.3)
    monkeypatch.setattr(channels, "SOCKET_SECONDS", round(scaled(60)))
    site.record(1)
    site.fail("import", 1)

    with socket.create_server(("127.0.0.1", 0)) as deaf, caplog.at_level(logging.WARNING, "rra"):
        began = time.monotonic()
        after_cycle.run(reporting(site, email=mail(deaf.getsockname()[1], smtp_host="127.0.0.1")), Ended(BOTH, 1))
        assert time.monotonic() - began < scaled(20)

    assert (
        "mail to shift@example.org: the message was not sent: no answer within 0.3 s; the next cycle tries again"
        in caplog.text
    )
