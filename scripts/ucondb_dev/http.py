"""A threaded HTTP server that answers as WebPie does: HTTP/1.1, `Connection: close`, no chunks, no made-up length.

Werkzeug's own server puts chunks around a body without Content-Length; the point of this one is that it does not.
"""

from __future__ import annotations

import socketserver
from pathlib import Path
from typing import IO, Any, cast
from wsgiref.handlers import SimpleHandler
from wsgiref.headers import Headers
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import WSGIApplication

HOST = "127.0.0.1"


class _Exchange(SimpleHandler):
    """One request and its answer; then the connection is closed."""

    http_version = "1.1"
    status: str | None
    headers: Headers | None
    code = "-"
    """Status of the answer, for the log: `status` is reset at the end of the exchange."""

    def cleanup_headers(self) -> None:
        # Without Content-Length unless the application gave one; the end of the connection is the end of the body.
        if self.headers is not None:
            self.headers["Connection"] = "close"
        if self.status is not None:
            self.code = self.status.split()[0]

    def log_exception(self, exc_info: Any) -> None:
        """Log no error: an answer that breaks off (database or reader gone) is part of the protocol."""


class _Handler(WSGIRequestHandler):
    """Reads one request. Buffers answers: else each header line becomes a packet."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    server: Server

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        self.close_connection = True
        if not self.raw_requestline or not self.parse_request():
            return
        streams = cast(IO[bytes], self.rfile), cast(IO[bytes], self.wfile), self.get_stderr()
        exchange = _Exchange(*streams, self.get_environ(), multithread=True)
        exchange.run(self.server.wsgi)
        self.log_request(exchange.code)

    def finish(self) -> None:
        try:
            super().finish()
        except OSError:
            self.close_connection = True  # the reader went away

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        self.server.log(format % args)


class Server(socketserver.ThreadingMixIn, WSGIServer):
    """Serves one application on the loopback interface only."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, application: WSGIApplication, log_file: Path | None = None) -> None:
        super().__init__((HOST, port), _Handler)
        self.wsgi = application
        self._log = log_file.open("a", buffering=1) if log_file else None

    def server_bind(self) -> None:
        """Bind without a look-up of the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()

    def log(self, line: str) -> None:
        """Write to the request log, if there is one."""
        if self._log:
            self._log.write(line + "\n")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print no traceback for a client that closed the connection."""
