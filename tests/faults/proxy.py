"""A TCP proxy that does to a connection what networks and servers do: for HTTP and PostgreSQL alike, or anything else.

It knows no protocol. One fault strikes one connection, counted from when the proxy was told of it, or all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass
from typing import Literal

from tests.waiting import scaled

Kind = Literal[
    "latency",
    "bandwidth",
    "timeout",
    "reset",
    "cut request",
    "cut answer",
    "lost answer",
    "garbage",
    "slow close",
    "down",
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]
PIECE = 65536


@dataclass(frozen=True)
class Fault:
    """What happens. at: at which exchange (one request and its answer), from 0. after: bytes let through by a cut.

    seconds: of a latency or a slow close; a timeout says nothing for ever.
    """

    kind: Kind
    at: int = 0
    after: int = 20
    seconds: float = 0.3


class Proxy:
    """Stands before `target`; its own address is `address`. Runs in a thread with an event loop of its own."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        """target: address and port, or the path of a unix socket."""
        self._target = target
        self._fault: Fault | None = None
        self._seen = 0
        self.struck = 0
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(scaled(10))
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(scaled(10))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(scaled(10))
        self._loop.close()

    def set(self, fault: Fault | None) -> None:
        """Let this happen from now on; exchanges are counted anew."""
        self._fault, self._seen, self.struck = fault, 0, 0

    @property
    def exchanges(self) -> int:
        """Requests since `set`."""
        return self._seen

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, sock=self._listener)

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = _Line(self, reader, writer)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await line.carry(self._target)

    def due(self) -> Fault | None:
        """One more exchange: the fault, if it strikes this one. What is down stays down."""
        fault, number = self._fault, self._seen
        self._seen += 1
        if fault is None or not (number == fault.at or (fault.kind == "down" and number > fault.at)):
            return None
        self.struck += 1
        return fault


class _Line:
    """One connection through the proxy. An exchange begins when the client speaks after the server did."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader, self._writer = reader, writer
        self._fault: Fault | None = None
        self._asking = False

    async def carry(self, target: tuple[str, int] | str) -> None:
        if isinstance(target, str):
            there, back = await asyncio.open_unix_connection(target)
        else:
            there, back = await asyncio.open_connection(*target)
        try:
            both = [asyncio.ensure_future(self._requests(back)), asyncio.ensure_future(self._answers(there))]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        finally:
            for each in (back, self._writer):
                each.close()

    async def _requests(self, server: asyncio.StreamWriter) -> None:
        while data := await self._reader.read(PIECE):
            if not self._asking:
                self._asking, self._fault = True, self._proxy.due()
            match self._fault:
                case Fault(kind="reset" | "down"):
                    self._reset()
                    return
                case Fault(kind="cut request", after=after):
                    server.write(data[:after])
                    await server.drain()
                    return
                case Fault(kind="latency", seconds=seconds):
                    await asyncio.sleep(seconds)
            server.write(data)
            await server.drain()

    async def _answers(self, server: asyncio.StreamReader) -> None:
        while data := await server.read(PIECE):
            self._asking = False
            match self._fault:
                case Fault(kind="lost answer"):
                    return  # the server has done what it was asked
                case Fault(kind="timeout"):
                    await asyncio.Event().wait()
                case Fault(kind="cut answer", after=after):
                    self._writer.write(data[:after])
                    await self._writer.drain()
                    return
                case Fault(kind="garbage"):
                    data = bytes(255 - byte for byte in data)
                case Fault(kind="bandwidth"):
                    for start in range(0, len(data), 1000):
                        self._writer.write(data[start : start + 1000])
                        await self._writer.drain()
                        await asyncio.sleep(0.01)
                    continue
                case Fault(kind="slow close", seconds=seconds):
                    self._writer.write(data)
                    await self._writer.drain()
                    await asyncio.sleep(seconds)
                    return
            self._writer.write(data)
            await self._writer.drain()

    def _reset(self) -> None:
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
