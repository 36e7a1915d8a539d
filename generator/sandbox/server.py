"""The HTTP side: one port on loopback that is the endpoint of ECS and VPC, and the proxy that leads Packer there."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic_core import to_json

from generator.sandbox.api import dispatch
from generator.sandbox.api.errors import ApiError, invalid, missing, not_emulated
from generator.sandbox.api.schema import PRODUCTS
from generator.sandbox.api.signature import Gate, Signed
from generator.sandbox.region.account import Account
from generator.sandbox.region.faults import TRANSPORT, Fault, Kind
from generator.sandbox.settings import KEYS

LOG = logging.getLogger("multieip.sandbox")
# What aiohttp says of connections that broke or never spoke HTTP: with a traceback each, and of no use to anybody.
_HTTP_LOG = logging.getLogger("multieip.sandbox.http")
_HTTP_LOG.setLevel(logging.CRITICAL)

# User-data travels in the request line: 32 KB are 44 KB of Base64, each character up to three in a URL.
MAX_LINE = 256 * 1024
# A page of 500 ENIs is 40,000 objects, which counting references frees once it is sent. Python's own threshold (700)
# takes them for lasting ones, and has the collector go through the whole region for every few pages: two thirds of
# what a page costs.
_COLLECT_AFTER = 50_000
_PAGE = "<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n<body></body>\r\n</html>\r\n"


@dataclass
class Server:
    """Serves an account. `port` 0 takes a free one, and is set once it serves."""

    account: Account
    keys: Mapping[str, str] = field(default_factory=lambda: KEYS)
    host: str = "127.0.0.1"
    port: int = 0

    def __post_init__(self) -> None:
        self.gate = Gate(self.keys)
        self._in_flight: set[tuple[str, str]] = set()
        self._runner: web.ServerRunner | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thresholds = gc.get_threshold()

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to serve; while it does, the process's garbage collector runs less often."""
        self._thresholds = gc.get_threshold()
        gc.set_threshold(_COLLECT_AFTER, *self._thresholds[1:])
        server = web.Server(
            self._handle, logger=_HTTP_LOG, access_log=None, max_line_size=MAX_LINE, max_field_size=MAX_LINE
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        self._settle()

    async def listen(self, sock: socket.socket) -> None:
        """Serve on one more socket too, after `start`: one that was made in another network namespace, say.

        The socket is the server's from then on: `stop` closes it.
        """
        if self._runner is None:
            raise RuntimeError("the server has not started")
        await web.SockSite(self._runner, sock).start()

    async def stop(self) -> None:
        """End serving; what was answered is kept already."""
        if self._timer:
            self._timer.cancel()
        if self._runner:
            await self._runner.cleanup()
        gc.set_threshold(*self._thresholds)

    def _settle(self) -> None:
        """Take transitions that are due, and come back for the next: the data plane follows unasked."""
        if self._timer:
            self._timer.cancel()
        try:
            due = self.account.settle()
        except Exception:
            LOG.exception("a transition failed")
            due = self.account.clock.now()
        if due is not None:
            wait = max(0.001, self.account.clock.seconds_until(due))
            self._timer = asyncio.get_running_loop().call_later(wait, self._settle)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "CONNECT":
            # A proxy that leads to no TLS: clients fall back to plain HTTP.
            return web.Response(status=502)
        request_id = str(uuid.uuid4()).upper()
        try:
            signed = await _signed(request)
            return await self._answer(request, signed, request_id)
        except ApiError as refusal:
            return _refused(refusal, request_id)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except web.HTTPException as refusal:
            # A body beyond what any call needs.
            return web.Response(status=refusal.status)
        except Exception:
            LOG.exception("a call failed (RequestId %s)", request_id)
            internal = ApiError("InternalError", "The request processing has failed due to some unknown error.", 500)
            return _refused(internal, request_id)

    async def _answer(self, request: web.BaseRequest, signed: Signed, request_id: str) -> web.StreamResponse:
        self.gate.check(signed)
        product, name, parameters = _called(signed)
        action = dispatch.find(product, name)
        self.account.settle()
        fault = self.account.faults.take(name, TRANSPORT)
        if fault and (spoilt := _instead(request, fault, request_id)):
            return spoilt
        prepared = dispatch.prepare(self.account, action, parameters)
        if prepared.in_flight in self._in_flight:
            raise ApiError("LastTokenProcessing", "The last request with this client token is being processed.")
        if fault and fault.kind is Kind.SLOW:
            await self._slowly(prepared, fault.seconds)
        body = dispatch.carry_out(prepared)
        self._settle()
        if fault and fault.kind is Kind.LOST:
            return _broken(request)
        return _json({"RequestId": request_id, **body}, 200)

    async def _slowly(self, prepared: dispatch.Prepared, seconds: float) -> None:
        mark = prepared.in_flight
        if mark:
            self._in_flight.add(mark)
        try:
            await asyncio.sleep(seconds)
        finally:
            if mark:
                self._in_flight.discard(mark)
        self.account.settle()


async def _signed(request: web.BaseRequest) -> Signed:
    target = request.raw_path
    # A request to a proxy names the host before the path.
    if "://" in target.partition("?")[0]:
        target = "/" + target.partition("://")[2].partition("/")[2]
    path, _, query = target.partition("?")
    body = await request.read()
    form = ""
    if body and request.content_type == "application/x-www-form-urlencoded":
        form = body.decode("ascii", "replace")
    headers = {name.lower(): value for name, value in request.headers.items()}
    for name, value in headers.items():
        if not value.isascii():
            raise invalid(name)
    return Signed(request.method, path, _pairs(query), _pairs(form), headers, body)


def _pairs(text: str) -> dict[str, str]:
    return dict(parse_qsl(text, keep_blank_values=True))


def _called(signed: Signed) -> tuple[str, str, dict[str, str]]:
    """Return product, action and parameters of a call, from headers or, as clients of old have it, parameters."""
    parameters = signed.parameters
    name = signed.headers.get("x-acs-action") or parameters.get("Action", "")
    version = signed.headers.get("x-acs-version") or parameters.get("Version", "")
    if not name:
        raise missing("Action")
    if version not in PRODUCTS:
        raise ApiError("InvalidVersion", "Specified parameter Version is not valid.")
    if "x-acs-action" not in signed.headers and parameters.get("Format", "XML").upper() != "JSON":
        raise not_emulated("answers in XML: set Format=JSON")
    return PRODUCTS[version], name, parameters


def _instead(request: web.BaseRequest, fault: Fault, request_id: str) -> web.StreamResponse | None:
    """Return what a fault answers with before the call is carried out, None if it does not."""
    if fault.kind is Kind.THROTTLE:
        return _refused(dispatch.THROTTLED, request_id)
    if fault.kind is Kind.UNAVAILABLE:
        return web.Response(status=503, text=_PAGE, content_type="text/html")
    if fault.kind is Kind.ERROR:
        return _refused(ApiError(fault.code, fault.message, fault.status), request_id)
    return _broken(request) if fault.kind is Kind.RESET else None


def _broken(request: web.BaseRequest) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _refused(refusal: ApiError, request_id: str) -> web.Response:
    body = {
        "RequestId": request_id,
        "HostId": "multieip-sandbox",
        "Code": refusal.code,
        "Message": refusal.message,
        "Recommend": "",
    }
    return _json(body, refusal.status)


def _json(body: Mapping[str, Any], status: int) -> web.Response:
    return web.Response(body=to_json(body), status=status, content_type="application/json")
