"""A server from its beginning to its end: port, files, signals."""

import asyncio
import errno
import logging
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ...atomic import HeldError, locked
from ...errors import MMFairseqError
from .app import create_app
from .guard import is_local
from .limits import Limits
from .work import SharedModel

_PREFIX, _FILES = "mm-fairseq-serve-", "files"
_GRACE = 10  # seconds for requests under way when the server is told to stop
_SILENT = 10.0  # seconds for a connection to ask for something
_WAITING = 256  # connections that the system holds until they are taken

logger = logging.getLogger(__name__)


class Impatient(H11Protocol):
    """Connections that ask for nothing, or for nothing more, are closed: the system has so many of them only."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.loop.call_later(_SILENT, self._look, self.cycle)

    def on_response_complete(self) -> None:
        last = self.cycle
        super().on_response_complete()  # may begin with the next request
        self.loop.call_later(_SILENT, self._look, last)

    def _look(self, last: object) -> None:
        if self.cycle is last:  # no headers came, or not all
            self.transport.close()


def serve(load: Callable[[], SharedModel], limits: Limits, host: str, port: int, names: Collection[str] = ()) -> None:
    """Serve a model until the process is told to stop (SIGINT, SIGTERM, SIGHUP).

    Args:
        load: gives the model, once it is sure that the port is free.
        limits: of the server.
        host: address to listen at.
        port: 0 for any that is free.
        names: by which it is asked, as through a proxy, beside those of this machine.

    Raises:
        MMFairseqError: the port is taken, or there is no such address here; or as `load`.
    """
    local, shown = is_local(host), f"[{host}]" if ":" in host else host
    own = [] if local else [host, socket.gethostname()]
    with ExitStack() as stack:
        listening = stack.enter_context(_listen(host, port))
        if not local:
            logger.warning("listening at %s: whoever reaches this address can ask; there is no authentication", host)
        model = load()
        config = uvicorn.Config(
            create_app(model, limits, stack.enter_context(_folder()), local, [*names, *own]),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            http=Impatient,
            timeout_graceful_shutdown=_GRACE,
        )
        logger.info("http://%s:%d answers; Ctrl-C ends it", shown, listening.getsockname()[1])
        _run(uvicorn.Server(config), listening)


@contextmanager
def _folder() -> Iterator[Path]:
    """A private folder for files, which goes with the process; those of servers that were killed go now."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError, HeldError):
            if left.lstat().st_uid == os.getuid() and not left.is_symlink():
                with locked(left, wait=0):
                    shutil.rmtree(left / _FILES)  # there as soon as the lock is held by whose folder it is
                    left.rmdir()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, locked(name):
        folder = Path(name, _FILES)
        folder.mkdir(mode=0o700)
        yield folder


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except (socket.gaierror, UnicodeError) as error:
        raise MMFairseqError(f"--host {host}: no such address") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_WAITING)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            told = f"port {port} of {host} is taken, by another server perhaps: choose another with --port"
            raise MMFairseqError(told) from error
        raise MMFairseqError(f"--host {host} --port {port}: {error.strerror}") from error
    return listening


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    """Until a signal; the server raises it again when it has stopped, which is then no more than the end."""

    def stop(*_: object) -> None:
        server.should_exit = True

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if number == signal.SIGHUP and handler == signal.SIG_IGN:  # of nohup
            continue
        signal.signal(number, stop)
    try:
        server.run(sockets=[listening])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
