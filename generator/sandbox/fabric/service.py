"""The metadata service on the wire: tokens, hardened mode, throttling, a log, and the faults that a test asks for."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, ip_address

from aiohttp import web

from generator.sandbox.fabric.metadata import VERSIONS, Document, look_up
from generator.sandbox.fabric.model import Identity

_TTL_HEADER = "X-aliyun-ecs-metadata-token-ttl-seconds"
_TOKEN_HEADER = "X-aliyun-ecs-metadata-token"  # noqa: S105 - the name of a header
_MAX_TTL = 21600

_ERROR_PAGE = """<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
         "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>{status} - {reason}</title>
 </head>
 <body>
  <h1>{status} - {reason}</h1>
 </body>
</html>
"""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the answers whose path `match` finds; nothing by default.

    `status` answers with this code and an error page; `delay` is seconds before any answer; `empty` answers 200
    with no body; `truncate` announces the whole body, sends half and closes; `body` answers this instead.
    `times` is how many answers it lasts, None for ever.
    """

    match: str = ""
    status: int | None = None
    delay: float = 0.0
    empty: bool = False
    truncate: bool = False
    body: bytes | None = None
    times: int | None = None


@dataclass(frozen=True)
class View:
    """An instance as one of its ENIs sees it in the metadata service."""

    identity: Identity
    document: Document


@dataclass(frozen=True)
class Request:
    """One request as it was answered; `at` is of time.monotonic()."""

    at: float
    instance_id: str
    method: str
    path: str
    status: int


@dataclass
class _Stale:
    document: Document
    polls: int
    reads: Counter[str] = field(default_factory=Counter)


@dataclass
class Service:
    """The service of one VPC. `find` says whose ENI an address is, or None.

    `rate` is how many requests an instance may make in a second before it is answered 429, None for no limit.
    """

    find: Callable[[IPv4Address], View | None]
    fault: Fault = Fault()
    rate: int | None = None
    log: deque[Request] = field(default_factory=lambda: deque(maxlen=100_000))
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    _recent: dict[str, deque[float]] = field(default_factory=dict)
    _stale: dict[str, _Stale] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    async def serve(self, listening: socket.socket) -> None:
        """Answer on a socket that is bound already."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def close(self) -> None:
        """Stop answering."""
        if self._runner is not None:
            await self._runner.cleanup()

    def expire_tokens(self) -> None:
        """Make every token that was given out invalid."""
        self._tokens.clear()

    def keep_stale(self, view: View, polls: int) -> None:
        """Go on telling an instance's present view until each key was read `polls` more times; 0 ends it."""
        self._stale[view.identity.id] = _Stale(view.document, polls)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        view = self.find(IPv4Address(str(ip_address(request.remote or "0.0.0.0"))))  # noqa: S104 - owned by nobody
        if view is None or not view.identity.endpoint_enabled:
            return _error(403, "Forbidden")
        instance = view.identity.id
        fault = self._take_fault(request.path)
        if fault.delay:
            await asyncio.sleep(fault.delay)
        response = self._spoil(fault, self._answer(request, view))
        self.log.append(Request(time.monotonic(), instance, request.method, request.path, response.status))
        if fault.truncate and response.status == 200:
            return await _half(request, response)
        return response

    def _take_fault(self, path: str) -> Fault:
        fault = self.fault
        if not re.search(fault.match, path):
            return Fault()
        if fault.times is not None:
            if fault.times <= 0:
                return Fault()
            self.fault = replace(fault, times=fault.times - 1)
        return fault

    def _spoil(self, fault: Fault, response: web.Response) -> web.Response:
        if fault.status is not None:
            return _error(fault.status, "Service Error")
        if response.status != 200:
            return response
        if fault.empty:
            return web.Response(body=b"")
        if fault.body is not None:
            return web.Response(body=fault.body)
        return response

    def _answer(self, request: web.Request, view: View) -> web.Response:
        if self._throttled(view.identity.id):
            return _error(429, "Too Many Requests")
        if request.path == "/latest/api/token":
            return self._give_token(request, view.identity.id)
        if request.method not in ("GET", "HEAD"):
            return _error(405, "Not Allowed")
        refused = self._refuse(request, view.identity)
        return refused if refused is not None else self._read(request.path, view)

    def _throttled(self, instance: str) -> bool:
        if self.rate is None:
            return False
        now = time.monotonic()
        recent = self._recent.setdefault(instance, deque())
        while recent and recent[0] < now - 1:
            recent.popleft()
        recent.append(now)
        return len(recent) > self.rate

    def _give_token(self, request: web.Request, instance: str) -> web.Response:
        if request.method != "PUT":
            return _error(405, "Not Allowed")
        if "X-Forwarded-For" in request.headers:
            return _error(403, "Forbidden")
        ttl = request.headers.get(_TTL_HEADER, "")
        if not (re.fullmatch(r"[0-9]{1,5}", ttl) and 1 <= int(ttl) <= _MAX_TTL):
            return _error(400, "Missing or Invalid Parameters")
        token = secrets.token_urlsafe(40)
        self._tokens[token] = (instance, time.monotonic() + int(ttl))
        return web.Response(text=token)

    def _refuse(self, request: web.Request, identity: Identity) -> web.Response | None:
        token = request.headers.get(_TOKEN_HEADER)
        if token is None:
            return _error(403, "Forbidden") if identity.tokens_required else None
        instance, until = self._tokens.get(token, ("", 0.0))
        if instance != identity.id or until < time.monotonic():
            return _error(401, "Unauthorized")
        return None

    def _read(self, path: str, view: View) -> web.Response:
        version, _, rest = path.lstrip("/").partition("/")
        if not version:
            return web.Response(text="\n".join(f"{name}/" for name in VERSIONS))
        if version not in VERSIONS:
            return _error(404, "Not Found")
        if rest == "user-data" and view.identity.user_data is not None:
            return web.Response(body=view.identity.user_data, content_type="application/octet-stream")
        key, _, below = rest.partition("/")
        if key == "":
            return web.Response(text="meta-data/\nuser-data")
        body = look_up(self._seen(view, below), below) if key == "meta-data" else None
        return _error(404, "Not Found") if body is None else web.Response(text=body)

    def _seen(self, view: View, below: str) -> Document:
        stale = self._stale.get(view.identity.id)
        if stale is None or stale.reads[below] >= stale.polls:
            return view.document
        stale.reads[below] += 1
        return stale.document


def _error(status: int, reason: str) -> web.Response:
    page = _ERROR_PAGE.format(status=status, reason=reason)
    return web.Response(status=status, reason=reason, text=page, content_type="text/html")


async def _half(request: web.Request, whole: web.Response) -> web.StreamResponse:
    body = whole.body if isinstance(whole.body, bytes) else b""
    response = web.StreamResponse(headers={"Content-Length": str(len(body) or 1)})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
