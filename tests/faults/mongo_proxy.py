"""A proxy that speaks MongoDB's wire protocol: it answers commands as a replica set does that has no primary just now.

What is not to be answered otherwise goes to the server behind. Source: MongoDB Wire Protocol, OP_MSG; the errors are
worded as MongoDB's server does (Error Codes; Server Discovery And Monitoring, "not writable primary" errors).
"""

from __future__ import annotations

import contextlib
import gc
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import bson

_HEADER = struct.Struct("<iiii")
_OP_MSG = 2013
_MONITORING = "&serverMonitoringMode=poll&heartbeatFrequencyMS=500"
"""Options of the driver: ask every 0.5 s whether the server is primary. The server behind the proxy reports no change,
so a driver that waits for such a report would not go on."""
_RETRYABLE = ["RetryableWriteError"]


def error(code: int, name: str, message: str, labels: list[str] | None = None) -> dict[str, Any]:
    """The answer of a server that does not do a command."""
    found = {"ok": 0.0, "errmsg": message, "code": code, "codeName": name}
    return found | ({"errorLabels": labels} if labels else {})


NOT_PRIMARY = error(10107, "NotWritablePrimary", "not primary", _RETRYABLE)
STEPPED_DOWN = error(189, "PrimarySteppedDown", "Primary stepped down while waiting for replication", _RETRYABLE)
IN_TRANSACTION = error(
    189, "PrimarySteppedDown", "Primary stepped down while waiting for replication", ["TransientTransactionError"]
)
UNAUTHORIZED = error(13, "Unauthorized", "not authorized on db to execute command { createIndexes: ... }")
NO_MAJORITY = {
    "ok": 1.0,
    "n": 1,
    "writeConcernError": {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out"},
}


@dataclass(frozen=True)
class Answer:
    """What a command is answered with, so many times. passed_on: the server does it all the same."""

    command: str
    reply: dict[str, Any] | Literal["cut"]
    times: int = 1
    passed_on: bool = False


Given: TypeAlias = "dict[int, dict[str, Any] | Literal['cut']]"
"""What to give in place of the server's answers, by the id of the command's message."""


class MongoProxy:
    """Stands before a server. `answers` are used up in their order."""

    def __init__(self, uri: str) -> None:
        """uri: of the server, with a database."""
        host, self._database = uri.removeprefix("mongodb://").split("/", 1)
        self._target = host
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._left: list[tuple[Answer, int]] = []
        self.commands: list[str] = []
        """Every command that came, but for those by which drivers look after the connection."""

    def __enter__(self) -> MongoProxy:
        gc.collect()
        gc.disable()  # a driver that is collected in a thread of this proxy would wait there for the proxy itself
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        gc.enable()

    @property
    def uri(self) -> str:
        """The URI of the proxy; direct, since the server names its own address."""
        return (
            f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/{self._database}?directConnection=true{_MONITORING}"
        )

    def answer(self, *answers: Answer) -> None:
        """Answer so from now on."""
        self._left = [(each, each.times) for each in answers]

    @property
    def unused(self) -> bool:
        """Whether an answer was not given as often as it was to be."""
        return any(left for _, left in self._left)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        host, port = self._target.rsplit(":", 1)
        given: Given = {}
        with contextlib.suppress(OSError, EOFError), client, socket.create_connection((host, int(port))) as server:
            threading.Thread(target=self._answers, args=(server, client, given), daemon=True).start()
            while True:
                number, _, message = _read(client)
                chosen = self._chosen(_command(message))
                if chosen is None:
                    server.sendall(message)
                    continue
                if chosen.passed_on:
                    given[number] = chosen.reply
                    server.sendall(message)
                elif chosen.reply == "cut":
                    return
                else:
                    client.sendall(_reply(number, chosen.reply))

    def _answers(self, server: socket.socket, client: socket.socket, given: Given) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                _, answers, message = _read(server)
                reply = given.get(answers)
                if reply == "cut":
                    break
                client.sendall(message if reply is None else _reply(answers, reply))
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def _chosen(self, command: str | None) -> Answer | None:
        if command is None or command in ("hello", "isMaster", "ping"):
            return None
        self.commands.append(command)
        for number, (answer, left) in enumerate(self._left):
            if answer.command == command and left:
                self._left[number] = answer, left - 1
                return answer
        return None


def _read(stream: socket.socket) -> tuple[int, int, bytes]:
    """Id, id of the message that it answers, and the whole message. Raises EOFError at the end."""
    header = _exactly(stream, _HEADER.size)
    length, number, answers, _ = _HEADER.unpack(header)
    return number, answers, header + _exactly(stream, length - len(header))


def _exactly(stream: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        more = stream.recv(length - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _command(message: bytes) -> str | None:
    """The name of the command in a message; None in an old kind of message."""
    if _HEADER.unpack_from(message)[3] != _OP_MSG or message[20] != 0:
        return None
    [length] = struct.unpack_from("<i", message, 21)
    return next(iter(bson.decode(message[21 : 21 + length])))


def _reply(answers: int, reply: dict[str, Any]) -> bytes:
    body = struct.pack("<iB", 0, 0) + bson.encode(reply)
    return _HEADER.pack(_HEADER.size + len(body), 0, answers, _OP_MSG) + body
