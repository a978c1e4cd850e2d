"""Who may ask: no page of another site, by no name that is not this machine's; and what browsers are told to keep to.

Cross-site requests carry the `Origin` of the page that makes them, and a name that was pointed to this machine
(DNS rebinding) stands in `Host`. A server is asked by its address or by names that it knows to be its own.
"""

import asyncio
import ipaddress
import json
import logging
import re
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .limits import Refused

_SAFE = {"GET", "HEAD", "OPTIONS"}
_REFUSED = 400  # the least status of a refusal
_DRAINED = 5.0  # seconds for which what a refused client sends is read on: who is cut off does not get to read why
_BESIDE = 256  # requests of all kinds beside those about clips
_SHOWN = 80  # characters of a path in the log
_JOB = re.compile(r"^(/api/jobs/)[^/]+")  # whoever knows its name can fetch it
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), display-capture=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

logger = logging.getLogger(__name__)


def is_local(host: str) -> bool:
    """Whether a name or an address is of the loopback interface."""
    host = host.strip("[]").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Whether it is an address, which nobody can point elsewhere as they can a name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def check(method: str, headers: Headers, local: bool, names: Collection[str] = ()) -> None:
    """Turn away who comes from another site.

    Args:
        method: of HTTP.
        headers: of the request.
        local: whether the server listens on the loopback interface only; else it is asked by any address.
        names: in small letters, by which it is asked beside those of the loopback interface.

    Raises:
        Refused: foreign_host or foreign_origin.
    """
    hosts = headers.getlist("host")
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if not found or not (is_local(found[1]) or found[1].lower() in names or (not local and is_address(found[1]))):
        known = "localhost, 127.0.0.1 and [::1]" if local else "its addresses"
        told = f"this server answers under {known} and names that are given by --allow-host only"
        raise Refused(403, "foreign_host", told)
    origin = headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{hosts[0]}".lower(), f"https://{hosts[0]}".lower()):
        raise Refused(403, "foreign_origin", "pages of other sites may not ask this server")
    if method not in _SAFE and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "foreign_origin", "pages of other sites may not ask this server")


class Guard:
    """Checks each request, adds `HEADERS` to each response and a line to the log.

    Args:
        app: that answers.
        queue: requests about clips at once; some more of other kinds are let in.
        local: see `check`.
        names: see `check`.
    """

    def __init__(self, app: ASGIApp, queue: int, local: bool = True, names: Collection[str] = ()) -> None:
        self.app, self.local, self.names = app, local, {name.lower() for name in names}
        self.most, self.under_way = queue + _BESIDE, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, whole = time.monotonic(), 0, False
        self.under_way += 1

        async def heard() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or not message.get("more_body")
            return message

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= _REFUSED and not whole and Headers(scope=scope).get("expect") is None:
                    await _drain(heard, lambda: whole)
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            check(scope["method"], Headers(scope=scope), self.local, self.names)
            if self.under_way > self.most:
                raise Refused(503, "busy", "more requests are under way than are taken; try again soon", again=5)
            asked = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope  # the body is left out below
            await self.app(asked, heard, guarded)
        except Refused as refused:
            await _refuse(refused, guarded)
        except Exception:
            logger.exception("a request failed")
            if status:
                raise  # it is half told: let the connection be cut
            await _refuse(Refused(500, "internal", "the server failed at this request; its log says more"), guarded)
        finally:
            self.under_way -= 1
            path = _JOB.sub(r"\1...", scope.get("raw_path", b"").decode("ascii", "replace"))[:_SHOWN]
            logger.info("%s %s %s %.2f s", scope["method"], path, status or "left", time.monotonic() - began)


async def _drain(receive: Receive, whole: Callable[[], bool]) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAINED):
            while not whole():
                await receive()


async def _refuse(refused: Refused, send: Send) -> None:
    body: dict[str, Any] = {"error": refused.message, "code": refused.code}
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    if refused.again is not None:
        headers.append((b"retry-after", str(refused.again).encode()))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
