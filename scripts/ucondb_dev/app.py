"""The REST interface of UconDB 3.9.7 as a WSGI application, with the faults of the real one.

Every status and text below was observed on the real server. `/stats` is ours, for tests.
Source: docs/design/ucondb.md, Requests to Listings.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from flask import Flask, Response, request
from werkzeug.exceptions import ClientDisconnected, HTTPException, NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from .storage import KeyExists, Row, Storage

PREFIX = "/ucondb"
VERSION = "3.9.7"
_JSON, _TEXT, _BYTES = "text/json", "text/html; charset=UTF-8", "application/octet-stream"
_READS = {"data", "get", "get_blob"}
_NO_FOLDER = "'NoneType' object has no attribute 'getVersion'"


class Fault(Exception):
    """an exception in the server: 500 and a page with a traceback"""


@dataclass(frozen=True, slots=True)
class Account:
    """The only user with write permission."""

    user: str
    password: str


class Server:
    """State of one server: storage, account, the lock that every request takes, and counts of requests."""

    def __init__(self, storage: Storage, account: Account | None, *, read_only: bool = False) -> None:
        """account: None for `authentication: none`."""
        self.storage, self.account, self.read_only = storage, account, read_only
        self.lock = threading.Lock()
        self.counts: Counter[str] = Counter(puts=0, gets=0, other=0)

    def application(self) -> DispatcherMiddleware:
        """The WSGI application, at the path prefix of a site."""
        app = Flask(__name__)
        app.before_request(self.enter)
        app.after_request(_finish)
        app.register_error_handler(Exception, _page)
        for name in ("version", "probe", "folders", "create_folder", "objects", "tags", "tag", "stats", "versions"):
            app.add_url_rule(f"/{name}", name, getattr(self, name), methods=["GET", "POST"])
        everything = ["GET", "POST", "PUT"]
        for name in ("data", "put", "get", "get_blob", "lookup_versions"):
            for index, rule in enumerate(
                (
                    f"/{name}",
                    f"/{name}/<folder>",
                    f"/{name}/<folder>/<object_>",
                    f"/{name}/<folder>/<object_>/key=<key>",
                )
            ):
                app.add_url_rule(rule, f"{name}{index}", getattr(self, name), methods=everything)
        app.add_url_rule("/data_for_versions", "data_for_versions", lambda: Response(b"", 200), methods=["POST"])
        return DispatcherMiddleware(NotFound(), {PREFIX: app})

    def enter(self) -> Response | None:
        """Take the lock, as every request does: one that keeps it blocks all. Then check the arguments."""
        with self.lock:
            kind = request.path.split("/")[1]
            signed = "Authorization" in request.headers  # without, it is only answered with the challenge
            posted = kind == "data" and request.method != "GET"
            writes = kind == "tag" or (signed and (posted or kind in ("put", "create_folder")))
            if kind != "stats":
                reads = kind in _READS and request.method == "GET"
                self.counts["puts" if writes else "gets" if reads else "other"] += 1
        if self.read_only and (posted or kind in ("put", "create_folder", "tag")):
            return _text("Read-only instance", 405)
        for name, values in request.args.lists():
            if any(character in value for value in values for character in "<'>\\|"):
                return Response(f"Invalid value for {name}", 400, mimetype="text/plain")
            if any(";" in value or "\0" in value for value in values):
                raise Fault("Invalid argument value")
            if name != "tag" and len(values) > 1:
                raise Fault("operator does not exist: text = text[]" if name == "key" else f"repeated argument {name}")
        return None

    # ---- the server itself -------------------------------------------------------------------------------------------

    def version(self) -> Response:
        """The server's version."""
        return _text(VERSION)

    def stats(self) -> Response:
        """Counts of requests since the start, for tests. Not part of UconDB."""
        return _json(dict(self.counts))

    def probe(self) -> Response:
        """Always 200, also with the database down."""
        try:
            self.storage.folders()
        except Exception as error:
            return _text(f"Error: {type(error)} {error}")
        return _text("OK")

    def folders(self) -> Response:
        """Names of all folders of a namespace; default: the server's own."""
        return _json(self.storage.folders(request.args.get("namespace")))

    def create_folder(self) -> Response:
        """Create a folder; OK if it exists."""
        folder = _argument("folder")
        refusal = self.refusal(folder)
        if refusal is None:
            with self.lock:
                self.storage.create_folder(folder)
        return refusal or _text("OK")

    def refusal(self, realm: str) -> Response | None:
        """The 401 of this request, or None if it may write. The nonce and the uri are never checked."""
        if self.account is None:
            return None
        scheme, _, rest = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "digest":
            answer = Response("Authorization required", 401, content_type=_TEXT)
            nonce = base64.b64encode(str(int(time.time())).encode())
            answer.headers["WWW-Authenticate"] = f'Digest realm="{realm}", nonce="{nonce!r}", algorithm=MD5, qop="auth"'
            return answer
        # The server splits at every comma, quoted or not: one in the uri ruins the header.
        pairs = (part.strip().partition("=") for part in rest.split(","))
        given = {name: value.strip('"') for name, _, value in pairs}
        for name in ("nc", "cnonce", "qop", "nonce", "uri", "response", "username"):
            if name not in given:
                raise Fault(f"'{name}'")
        secret = _md5(f"{self.account.user}:{realm}:{self.account.password}")
        asked = _md5(f"{request.method}:{given['uri']}")
        expected = _md5(":".join((secret, given["nonce"], given["nc"], given["cnonce"], given["qop"], asked)))
        if given["username"] == self.account.user and given["response"] == expected:
            return None
        return Response("Authorization required", 401, content_type=_TEXT)

    # ---- writing and reading blobs -----------------------------------------------------------------------------------

    def data(self, folder: str = "", object_: str = "", key: str | None = None) -> Response:
        """GET reads, everything else writes."""
        return self.get(folder, object_, key) if request.method == "GET" else self.put(folder, object_, key)

    def put(self, folder: str = "", object_: str = "", key: str | None = None) -> Response:
        """Any method writes. Reads the body before any check, under the lock."""
        folder, object_ = folder or _argument("folder"), object_ or _argument("object")
        key = key if key is not None else request.args.get("key")
        with self.lock:
            try:
                blob = request.get_data(cache=False)  # no Content-Length, no body: an empty blob is stored
            except ClientDisconnected as error:
                raise Fault("The client disconnected while sending the body") from error
            if not self.storage.has_folder(folder):
                return _text("Folder not found", 404)
            refusal = self.refusal(self.storage.qualified(folder))
            if refusal is not None:
                return refusal
            float(request.args.get("tv") or 0)  # what is no time is refused here, after the password was accepted
            override = request.args.get("override") == "yes"
            row = self.storage.put(folder, object_, key, request.args.getlist("tag"), blob, override=override)
        return _json(row.metadata()) if request.args.get("full_meta") == "yes" else _text(str(row.id))

    def get(self, folder: str = "", object_: str = "", key: str | None = None) -> Response:
        """A blob by key, tag, id or data key, or the newest; its description in headers."""
        folder, object_ = folder or _argument("folder"), object_ or _argument("object")
        arguments = request.args
        with self.lock:
            if not self.storage.has_folder(folder):
                raise Fault(_NO_FOLDER)
            if "data_key" in arguments:
                return self.by_data_key(folder, arguments["data_key"])
            if "id" in arguments:
                return self.by_id(folder, int(arguments["id"]))
            key = key if key is not None else arguments.get("key")
            wanted = {"key": key} if key is not None else {"tag": arguments["tag"]} if "tag" in arguments else {}
            if not self.storage.has_object(folder, object_):
                raise Fault(_NO_FOLDER)
            row = self.storage.version(folder, object_, **wanted)
            if row is None:
                return _text("Version not found", 404)
            if arguments.get("meta_only") == "yes":
                return _json(row.metadata())
            blob = self.storage.data(folder, int(row.data_key))
        return _blob(blob, _described(row))

    def get_blob(self, folder: str = "", **_: str) -> Response:
        """A blob by data key or version, outside the lock."""
        folder, data_key = folder or _argument("folder"), request.args.get("data_key")
        if not self.storage.has_folder(folder):
            return _text(f"Folder {folder} not found", 404)
        if data_key is None:
            row = self.storage.version(folder, id=int(_argument("version_id")))
            if row is None:
                return _text("Version not found", 404)
            data_key = row.data_key
        return self.by_data_key(folder, data_key, headers=False)

    def by_data_key(self, folder: str, data_key: str, *, headers: bool = True) -> Response:
        """Content by its data key, whatever run it belongs to."""
        blob = self.storage.data(folder, int(data_key))
        if blob is None:
            return _text("Data not found", 404)
        described = {"X-UconDB-product-version": VERSION, "X-UconDB-data-key": data_key}
        return _blob(blob, described if headers else {})

    def by_id(self, folder: str, number: int) -> Response:
        """A blob by version, as text and without description."""
        row = self.storage.version(folder, id=number)
        if request.args.get("meta_only") == "yes":
            return _json({} if row is None else row.metadata())
        if row is None:
            raise Fault("'NoneType' object has no attribute 'data'")
        return Response(self.storage.data(folder, int(row.data_key)), 200, content_type=_TEXT)

    # ---- listing -----------------------------------------------------------------------------------------------------

    def objects(self) -> Response:
        """Objects of a folder."""
        return _json(self.storage.objects(_argument("folder")))

    def tags(self) -> Response:
        """Tags of a folder."""
        return _json(self.storage.tags(_argument("folder")))

    def tag(self) -> Response:
        """A GET that writes, without a password."""
        arguments, folder = request.args, _argument("folder")
        with self.lock:
            wanted = {"id": int(arguments["version_id"])} if "version_id" in arguments else {"key": _argument("key")}
            row = self.storage.version(folder, arguments.get("object"), **wanted)
            if row is None:
                raise Fault("'NoneType' object has no attribute 'addTag'")
            self.storage.add_tag(folder, row.id, _argument("tag"))
        return _text("OK")

    def versions(self) -> Response:
        """All versions of an object, streamed."""
        folder, object_ = _argument("folder"), _argument("object")
        missing = self.missing(folder, object_)
        return missing or _stream(_as_list(self.storage.listing(folder, object_)), _JSON)

    def lookup_versions(self, folder: str = "", object_: str = "", **_: str) -> Response:
        """Some versions of an object, streamed."""
        folder, object_ = folder or _argument("folder"), object_ or _argument("object")
        wanted = json.loads(request.get_data())
        missing = self.missing(folder, object_)
        if missing:
            return missing
        if not any(wanted.get(name) for name in ("keys", "ids", "key_min", "key_max")):
            raise Fault("list index out of range")
        return _stream(_as_sequence(self.storage.lookup(folder, object_, wanted)), "text/json-seq")

    def missing(self, folder: str, object_: str) -> Response | None:
        """The 404 of a missing folder or object; an object exists once it has a version."""
        if not self.storage.has_folder(folder):
            return _text(f"Folder {folder} not found", 404)
        if not self.storage.has_object(folder, object_):
            return _text(f"Object {object_} not found", 404)
        return None


def _argument(name: str) -> str:
    value = request.args.get(name)
    if value is None:
        raise Fault(f"missing 1 required positional argument: '{name}'")
    return value


def _as_list(rows: Iterable[Row]) -> Iterator[str]:
    """A JSON list, row by row: after an error of the database the rest is missing, with the "]"."""
    yield "["
    for index, row in enumerate(rows):
        yield ("," if index else "") + json.dumps(row.metadata())
    yield "]"


def _as_sequence(rows: Iterable[Row]) -> Iterator[str]:
    """RFC 7464. "200 OK" is sent before the query: an error of the database looks like the end of the answer."""
    yield ""
    for row in rows:
        yield f"\x1e{json.dumps(row.metadata())}\n"


def _described(row: Row) -> dict[str, str]:
    values = {
        "product-version": VERSION,
        "version-id": row.id,
        "data-key": row.data_key,
        "version-key": "null" if row.key is None else row.key,
        "data-size": row.data_size,
        "adler32": row.adler32,
        "tv": row.tv,
        "tr": row.tr,
        "metadata": json.dumps(row.metadata()),
        "metadata-format": "json",
    }
    return {f"X-UconDB-{name}": str(value) for name, value in values.items()}


def _blob(blob: bytes | None, headers: dict[str, str]) -> Response:
    """A blob in pieces, without Content-Length: it ends with the connection."""
    pieces = blob or b""
    answer = _stream((pieces[at : at + 65536] for at in range(0, len(pieces), 65536)), _BYTES)
    answer.headers.update(headers)
    return answer


def _stream(pieces: Iterable[str] | Iterable[bytes], kind: str) -> Response:
    return Response(pieces, 200, content_type=kind)


def _json(value: object) -> Response:
    return Response(json.dumps(value), 200, content_type=_JSON)


def _text(text: str, status: int = 200) -> Response:
    return Response(text, status, content_type=_TEXT)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _finish(answer: Response) -> Response:
    if request.path == "/version":  # a plain string, sent as it is
        return answer
    answer.headers["X-Server-Application-Version"] = f"UconDB {VERSION}"
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


def _page(error: Exception) -> Response:
    """A traceback page for every exception, as WebPie makes it."""
    if isinstance(error, HTTPException):
        return Response(f"{error.name}: {request.path}", error.code, content_type=_TEXT)
    # Only this text distinguishes an existing version from a missing database.
    trace = "" if isinstance(error, KeyExists) else "".join(traceback.format_exception(error))
    heading = f"<h2>Application error</h2><h3>{escape(str(error), quote=False)}</h3>"
    return Response(f"<html><body>{heading}<pre>{escape(trace)}</pre></body></html>", 500, content_type=_TEXT)


__all__ = ["PREFIX", "Account", "Server"]
