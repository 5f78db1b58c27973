"""Messages to people: mail, Slack, and every service of apprise. One per cycle, and only if something changed.

`changes.py` finds what changed, `messages.py` writes the text, `delivered.py` remembers what was sent. apprise is
imported only for a message to send.
"""

from __future__ import annotations

import logging
import re
import shlex
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import quote, unquote

from rra_state.base.concurrency import run_within
from rra_state.base.errors import NotSent, UsageError, WorkDirError
from rra_state.config.loading import Settings
from rra_state.config.models import Email, Slack
from rra_state.monitoring import changes, delivered, messages
from rra_state.monitoring.changes import Changes, Condition, Delivered
from rra_state.monitoring.messages import Message
from rra_state.reporting.counts import Counts
from rra_state.state.markers import Tree

LIMIT_SECONDS = 30.0
"""Longest time for all messages of a cycle together."""
SOCKET_SECONDS = 15
"""Longest wait for one answer of a mail server or web service."""
IMPLICIT_TLS_PORT = 465

log = logging.getLogger("rra")

_SLACK_ID = re.compile("[CDG][A-Z0-9]{8,}")


@dataclass(frozen=True, slots=True, eq=False)
class Channel:
    """One recipient of messages. key: its name in the note. address: for apprise. secrets: never shown."""

    name: str
    key: str
    address: str | dict[str, Any]
    secrets: tuple[str, ...] = ()
    mention: str = ""


def channels(settings: Settings) -> list[Channel]:
    """Every configured channel. One per recipient: if an address is refused, the others still get their message."""
    email, slack = settings.reporting.email, settings.reporting.slack
    found = [_mail(email, recipient) for recipient in email.recipients if email.enabled]
    found += [_slack(slack, channel) for channel in slack.channels if slack.enabled]
    for number, secret in enumerate(settings.reporting.urls, 1):
        url = secret.get_secret_value()
        name = f"reporting.urls {number} ({url.partition('://')[0]})"
        found.append(Channel(name, sha256(url.encode()).hexdigest()[:16], url, tuple(_tokens(url))))
    return found


def notify(settings: Settings, recipients: Iterable[Channel], now: Condition, counts: Counts | None) -> None:
    """Send each channel what changed since its last message. A failure is logged; the next cycle tries again."""
    tree = Tree(settings.app.work_dir)
    earlier = delivered.known(tree)
    before = {each.key: earlier.get(each.key, Delivered()) for each in recipients}
    wanted = {each: found for each in recipients if (found := changes.since(before[each.key], now))}
    unsent = {each.key for each in wanted} - _sent(settings, wanted, counts)
    known = {key: each if key in unsent else each.after(now) for key, each in before.items()}
    if not wanted and known == before:
        return
    try:
        delivered.keep(tree, known)
    except WorkDirError as error:
        log.warning("what was sent cannot be remembered, and will be sent again: %s", error)


def _sent(settings: Settings, wanted: Mapping[Channel, Changes], counts: Counts | None) -> set[str]:
    """Send the messages; return the keys of the channels that accepted theirs."""
    place, command = socket.gethostname(), f"./run_archiver.sh {shlex.quote(str(settings.path))}"
    to_send = {channel: messages.message(found, counts, place, command) for channel, found in wanted.items()}
    results = run_within(LIMIT_SECONDS, {each.name: partial(send, each, message) for each, message in to_send.items()})
    for channel, message in to_send.items():
        error = results[channel.name]
        if error is None:
            log.info("%s: sent %s", channel.name, message.title)
        else:
            log.warning("%s: the message was not sent: %s; the next cycle tries again", channel.name, error)
    return {each.key for each in wanted if results[each.name] is None}


def test(settings: Settings) -> Iterator[tuple[bool, str]]:
    """Send a test message to each channel; yield whether it was sent, and the line to print."""
    recipients = channels(settings)
    if not recipients:
        raise UsageError("no channel for messages is configured", hint="see docs/monitoring.md, Messages")
    message = Message(
        f"run record archiver on {socket.gethostname()}: test", "A test. There is nothing to do.\n", bad=False
    )
    results = run_within(LIMIT_SECONDS, {each.name: partial(send, each, message) for each in recipients})
    for name, error in results.items():
        yield error is None, f"{name}: " + ("OK" if error is None else f"FAILED ({error})")


def send(channel: Channel, message: Message) -> None:
    """Send one message. Raises NotSent with what apprise logged about it."""
    import apprise  # noqa: PLC0415 - an idle cycle has nothing to send

    asset = apprise.AppriseAsset(app_id="run-record-archiver", app_desc="Run Record Archiver", async_mode=False)
    if not all(secret.isascii() for secret in channel.secrets):
        raise NotSent("its password holds a character that it cannot carry: choose one of ASCII only")
    with _AppriseLog(channel) as collected:
        plugin = apprise.Apprise.instantiate(channel.address, asset=asset)
        if not plugin:
            raise NotSent(collected.text() or "apprise does not know such an address")
        kind = apprise.NotifyType.FAILURE if message.bad else apprise.NotifyType.SUCCESS
        mention = f"{channel.mention}\n" if channel.mention and message.bad else ""
        body_format = None if channel.mention else apprise.NotifyFormat.TEXT
        sent = plugin.notify(
            body=mention + message.text, title=message.title, notify_type=kind, body_format=body_format
        )
        if not sent:
            raise NotSent(collected.text())


# ---- channels ------------------------------------------------------------------------------------------------------


def _mail(email: Email, recipient: str) -> Channel:
    sender = email.sender_email or f"run-record-archiver@{_domain()}"
    password = email.smtp_password.get_secret_value() if email.smtp_password else ""
    mode = "ssl" if email.smtp_port == IMPLICIT_TLS_PORT else "starttls" if email.smtp_use_tls else "insecure"
    address = {
        "schema": "mailto",
        "host": "",
        "smtp_host": email.smtp_host,
        "port": email.smtp_port,
        "secure_mode": mode,
        "from_addr": sender,
        "targets": recipient,
        "user": quote(email.smtp_user or "", safe=""),  # apprise undoes that
        "password": quote(password, safe=""),
        "verify": email.verify_tls,
        **_timeouts(),
    }
    return Channel(f"mail to {recipient}", f"mail {recipient}", address, (password,) if password else ())


def _slack(slack: Slack, channel: str) -> Channel:
    token = slack.bot_token.get_secret_value()
    address = {
        "schema": "slack",
        "access_token": token,
        "targets": f"+{channel}" if _SLACK_ID.fullmatch(channel) else channel,
        "include_footer": False,
        "include_image": False,
        **_timeouts(),
    }
    mention = " ".join(f"<@{user.removeprefix('@')}>" for user in slack.mentioned)
    return Channel(f"Slack {channel}", f"slack {channel}", address, (token,), mention)


def _timeouts() -> dict[str, str]:
    return {"cto": str(SOCKET_SECONDS), "rto": str(SOCKET_SECONDS)}


def _domain() -> str:
    """The name of this host, if a mail address can end in it."""
    name = socket.getfqdn()
    return name if "." in name else "localhost"


def _tokens(url: str) -> Iterator[str]:
    """Every part of an address that is long enough for a secret: which parts are secret depends on the service."""
    for part in re.split(r"[/:@?&=#]+", url.partition("://")[2]):
        if len(part) >= 6:
            yield from {part, unquote(part), quote(unquote(part), safe="")}


# ---- sending -------------------------------------------------------------------------------------------------------


class _AppriseLog(logging.Handler):
    """Collects what apprise logs in this thread about one channel, without its secrets."""

    _CAUSES = re.compile("Exception|Dropped invalid|Response Details")

    def __init__(self, channel: Channel) -> None:
        super().__init__(logging.DEBUG)
        self._secrets = sorted(channel.secrets, key=len, reverse=True)
        self._lines: list[str] = []
        self._thread = 0

    def __enter__(self) -> _AppriseLog:
        self._thread = threading.get_ident()
        self._logger = logging.getLogger("apprise")
        self._logger.addHandler(self)
        self._logger.setLevel(logging.DEBUG)
        self._logger.propagate = False
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep warnings, and debug messages that name a cause."""
        text = " ".join(record.getMessage().split())
        if record.thread != self._thread:
            return
        if record.levelno >= logging.WARNING or self._CAUSES.search(text):
            for secret in self._secrets:
                text = text.replace(secret, "***")
            self._lines.append(text)

    def text(self) -> str:
        """The collected messages in one line."""
        return "; ".join(dict.fromkeys(self._lines))
