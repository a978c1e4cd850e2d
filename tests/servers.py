"""Servers to be asked by tests, and clients that ask them many things at once."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

BOUNDARY = "a-line-that-is-in-no-file"


class Reply(NamedTuple):
    """What came back: status of HTTP, headers in small letters, JSON or bytes; seconds that it took."""

    status: int
    headers: dict
    body: object
    seconds: float


def form(fields=(), **files):
    """A form of multipart/form-data: pairs of name and text, and part to (file name, bytes)."""
    parts = [
        f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in (fields.items() if isinstance(fields, dict) else fields)
    ]
    for part, (name, content) in files.items():
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{part}"; filename="{name}"\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def request(method, path, port, body=b"", **headers):
    """A request as it goes over the wire."""
    given = {"host": f"127.0.0.1:{port}", "connection": "close", "content-length": len(body)}
    given |= {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} if body else {}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def until(true):
    """Wait until something is true; minutes are a net for what hangs."""
    limit = time.monotonic() + 300
    while not true():
        assert time.monotonic() < limit, "it did not come about"
        time.sleep(0.01)


async def ask(port, raw):
    """Send a request and read the reply."""
    began = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(raw)
            await writer.drain()
        answer = await reader.read()
    finally:
        writer.close()
    assert answer, "the connection was closed without a reply"
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    is_json = headers.get("content-type", "").startswith("application/json")
    return Reply(int(first.split()[1]), headers, json.loads(body) if is_json else body, time.monotonic() - began)


def ask_all(port, requests):
    """All at once; replies in their order."""

    async def run():
        return await asyncio.gather(*(ask(port, raw) for raw in requests))

    return asyncio.run(run())


@contextlib.contextmanager
def in_thread(app, **options):
    """Serve an application from this process, with options of `uvicorn.Config`; gives the port."""
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(256)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none", **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


class Command:
    """`mm-fairseq serve` in a process of its own; `port` is there as soon as it says so.

    Args:
        checkpoint: that is served.
        temporary: folder in which it makes its own.
        options: further words.
    """

    def __init__(self, checkpoint, temporary, *options):
        words = ["-m", "mm_fairseq", "serve", "--checkpoint", checkpoint, "--port", 0, *options]
        environment = os.environ | {"TMPDIR": str(temporary), "CUDA_VISIBLE_DEVICES": ""}
        self.log = Path(temporary) / f"{secrets.token_hex(4)}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([sys.executable, *map(str, words)], stderr=log, env=environment)
        self.port = self._port()

    def _port(self):
        limit = time.monotonic() + 1000
        while time.monotonic() < limit and self.process.poll() is None:
            if found := re.search(r"http://\S+:(\d+) answers", self.told):
                return int(found[1])
            time.sleep(0.05)
        raise AssertionError(self.told)

    @property
    def told(self):
        """All that it has said."""
        return self.log.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)

    def stop(self, how=signal.SIGTERM):
        """End it; gives its exit status."""
        self.process.send_signal(how)
        return self.process.wait(300)

    def memory(self):
        """Resident bytes of it and its children; what they share counts for each."""
        return sum(resident(pid) for pid in [self.process.pid, *children(self.process.pid)])


def children(pid):
    """Process ids of who was started by a process."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def lives(pid):
    """Whether a process does anything yet; who has ended may wait for its parent to hear of it."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def resident(pid):
    """Bytes of memory of a process."""
    return int(re.search(r"^VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1]) << 10
