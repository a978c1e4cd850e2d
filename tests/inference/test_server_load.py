"""Many requests at once, clients that leave, decoders that die, bad media, and the end of the process."""

import contextlib
import http.client
import os
import signal
import socket
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")

import server_mix
from fastapi.testclient import TestClient
from servers import Command, ask_all, children, form, in_thread, lives, request, until

from mm_fairseq.cli import main
from mm_fairseq.inference.server import guard, run
from mm_fairseq.inference.server.app import create_app
from mm_fairseq.inference.server.limits import Limits
from mm_fairseq.inference.server.work import SharedModel
from mm_fairseq.media import bounds

LIMITS = Limits(seconds=20.0, jobs=2, timeout_seconds=1000.0)
OTHERS = (signal.SIGINT, signal.SIGHUP)


@pytest.fixture(scope="module")
def checkpoint(small_models):
    return small_models.checkpoint("ssl_fusion")


@pytest.fixture(scope="module")
def mix(small_models, tmp_path_factory):
    return server_mix.Mix(small_models.model("ssl_fusion"), small_models.clips()[:6], tmp_path_factory.mktemp("mix"))


@pytest.fixture(scope="module")
def command(checkpoint, tmp_path_factory):
    """The real command in a process of its own."""
    options = ["--max-seconds", 20, "--max-upload-mb", 3, "--jobs", 2, "--timeout", 1000]
    with Command(checkpoint, tmp_path_factory.mktemp("command"), *options) as found:
        yield found


def served(checkpoint, folder, **limits):
    model = SharedModel.from_pretrained(checkpoint, max_seconds=20.0)
    return create_app(model, replace(LIMITS, **limits), folder)


def test_many_at_once(command, mix):
    """Forty, good ones and bad ones: each gets its own answer; further rounds take no more memory."""
    memory = []
    for _ in range(5):
        replies = ask_all(command.port, [case.raw(command.port) for case in mix.cases(40)])
        assert [case.fault(reply) for case, reply in zip(mix.cases(40), replies, strict=True)] == [""] * 40
        memory.append(command.memory())
    assert min(memory[3:]) - max(memory[:3]) < 40 << 20, memory
    assert "Traceback" not in command.told


def test_decoders_that_are_killed(command, mix):
    """By whom ever: every clip is answered all the same, or told to come again."""
    asked = [case for case in mix.cases(40) if case.scores]
    stop = threading.Event()

    def kill():
        for _ in range(8):  # a clip is lost with the second decoder that it costs: most are not, however slow they are
            if stop.wait(0.7):
                return
            for child in children(command.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        replies = ask_all(command.port, [case.raw(command.port) for case in asked])
    finally:
        stop.set()
        killer.join()
    faults = [case.fault(reply) for case, reply in zip(asked, replies, strict=True) if reply.status != 503]
    assert faults == [""] * len(faults)
    assert len(faults) >= len(asked) / 2
    (again,) = ask_all(command.port, [asked[0].raw(command.port)])
    assert asked[0].fault(again) == ""


def test_bad_media(command, tmp_path):
    """The files of the reliability tests: a reason each, soon, and the server lives."""
    files = server_mix.bad_media(tmp_path)
    raws = [request("POST", "/api/predict", command.port, form(clip=(path.name, path.read_bytes()))) for path in files]
    for path, reply in zip(files, ask_all(command.port, raws), strict=True):
        assert reply.status == 200 or 400 <= reply.status < 429, (path.name, reply)
        assert reply.status == 200 or reply.body["error"], path.name
        assert str(command.log.parent) not in str(reply.body)
        assert "/clip." not in str(reply.body)
    assert sum(reply.status != 200 for reply in ask_all(command.port, raws[:5])) == 5
    (health,) = ask_all(command.port, [request("GET", "/health", command.port)])
    assert health.body["under_way"] == 0
    assert command.process.poll() is None
    assert "Traceback" not in command.told


def test_a_second_server_at_the_port(command, checkpoint, capsys):
    assert main(["serve", "--checkpoint", str(checkpoint), "--port", str(command.port)]) == 2
    told = capsys.readouterr().err
    assert f"port {command.port} of 127.0.0.1 is taken" in told
    assert "--port" in told
    assert len(told.splitlines()) == 1


def test_the_log_is_short_and_keeps_nothing_of_users(command, mix):
    ask_all(command.port, [case.raw(command.port) for case in mix.cases(10)])
    until(lambda: "POST /api/predict 200" in command.told)
    assert "wonderful" not in command.told
    assert ".mp4" not in command.told
    ask_all(command.port, [request("GET", "/api/jobs/a-name-to-keep/segments.csv", command.port)])
    until(lambda: "GET /api/jobs/.../segments.csv 404" in command.told)
    assert "a-name-to-keep" not in command.told


def test_only_the_head_goes_over_the_wire(command):
    head, whole = ask_all(command.port, [request(method, "/", command.port) for method in ("HEAD", "GET")])
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(whole.body)))


@pytest.mark.parametrize("how", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.slow) for each in OTHERS)])
def test_the_end(checkpoint, tmp_path, mix, how):
    """Who is under way is answered, files and processes are gone, and nothing is said of errors."""
    killed = tmp_path / "mm-fairseq-serve-killed/files"
    killed.mkdir(parents=True)
    with Command(checkpoint, tmp_path, "--jobs", 1) as command:
        assert not killed.parent.exists()
        case = next(case for case in mix.cases(10) if case.scores)
        ask_all(command.port, [case.raw(command.port)])
        (folder,) = tmp_path.glob("mm-fairseq-serve-*/files")
        assert oct(folder.parent.stat().st_mode)[-3:] == "700"
        started = children(command.process.pid)
        assert started
        half = socket.create_connection(("127.0.0.1", command.port))
        half.sendall(case.raw(command.port)[:-2000])
        until(lambda: list(folder.iterdir()))
        half.close()
        assert command.stop(how) == 0
        assert not list(tmp_path.glob("mm-fairseq-serve-*"))
        until(lambda: not any(map(lives, started)))
        assert "Traceback" not in command.told


def test_files_of_servers_that_were_killed_go_with_the_next(tmp_path, monkeypatch):
    """Those of one that lives do not, nor does what is no server's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, other, link = (tmp_path / f"mm-fairseq-serve-{name}" for name in ("killed", "other", "link"))
    (killed / "files/f00").mkdir(parents=True)
    (killed / "files/f00/clip.mp4").write_bytes(b"of somebody")
    other.mkdir()
    (other / "diary.txt").write_text("mine")
    link.symlink_to(other)
    with run._folder() as living:
        assert not killed.exists()
        with run._folder() as own:
            assert own.parent != living.parent
            assert living.exists()
        assert not own.parent.exists()
    assert sorted(tmp_path.iterdir()) == [link, other]
    assert (other / "diary.txt").read_text() == "mine"


def test_clients_that_leave_are_not_answered(checkpoint, tmp_path, mix):
    """Their clips do not reach the model, and leave neither files nor places behind."""
    app, asked = served(checkpoint, tmp_path, jobs=1), []
    office = app.state.office
    before, hold = office.model.scores, threading.Event()

    def scores(inputs):
        asked.extend(inputs)
        hold.wait(300)
        return before(inputs)

    office.model.scores = scores
    case = next(case for case in mix.cases(10) if case.scores)
    with in_thread(app) as port:
        first = threading.Thread(target=lambda: ask_all(port, [case.raw(port)]))
        first.start()
        until(lambda: len(asked) == 1)
        gone = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        for connection in gone:
            connection.sendall(case.raw(port))
        until(lambda: office.under_way == 6)
        for connection in gone:
            connection.close()
        until(lambda: office.under_way == 1)
        assert len(list(tmp_path.iterdir())) == 1
        hold.set()
        first.join()
        (reply,) = ask_all(port, [case.raw(port)])
        assert case.fault(reply) == ""
    assert len(asked) == 2
    assert not list(tmp_path.iterdir())


def test_a_full_queue(checkpoint, tmp_path, mix):
    app = served(checkpoint, tmp_path, queue=3)
    hold, before = threading.Event(), app.state.office.model.scores
    app.state.office.model.scores = lambda inputs: hold.wait(300) and before(inputs)
    case = next(case for case in mix.cases(10) if case.scores)
    with in_thread(app) as port:
        found = []
        waiting = threading.Thread(target=lambda: found.extend(ask_all(port, [case.raw(port)] * 3)))
        waiting.start()
        until(lambda: app.state.office.under_way == 3)
        (refused,) = ask_all(port, [case.raw(port)])
        assert (refused.status, refused.body["code"]) == (429, "busy")
        assert int(refused.headers["retry-after"]) > 0
        hold.set()
        waiting.join()
        assert [case.fault(reply) for reply in found] == [""] * 3


def test_more_requests_than_are_taken(checkpoint, tmp_path, monkeypatch):
    """Of whichever kind: told as all else is."""
    check, came = guard.check, []
    monkeypatch.setattr(guard, "check", lambda *given: came.append(given) or check(*given))
    monkeypatch.setattr(guard, "_BESIDE", 1)
    monkeypatch.setattr(guard, "_DRAINED", 20)  # for which the second is under way
    app = served(checkpoint, tmp_path, queue=1)
    with in_thread(app) as port:
        half = [socket.create_connection(("127.0.0.1", port), 300) for _ in range(2)]
        for number, connection in enumerate(half, 1):
            connection.sendall(request("POST", "/api/predict", port, form({"text": "x"}))[:-9])
            until(lambda number=number: len(came) == number)
        (refused,) = ask_all(port, [request("GET", "/health", port)])
        assert (refused.status, refused.body["code"]) == (503, "busy")
        assert int(refused.headers["retry-after"]) > 0
        for connection in half:
            connection.close()
        until(lambda: ask_all(port, [request("GET", "/health", port)])[0].status == 200)
        assert app.state.office.under_way == 0


def test_time_is_up(checkpoint, tmp_path, mix):
    app = served(checkpoint, tmp_path, timeout_seconds=3.0)  # enough for the form on a busy machine
    hold, before = threading.Event(), app.state.office.model.scores
    app.state.office.model.scores = lambda inputs: hold.wait(300) and before(inputs)
    case = next(case for case in mix.cases(10) if case.scores)
    with in_thread(app) as port:
        tried = (ask_all(port, [case.raw(port)])[0] for _ in range(20))  # a stall may keep the form from being read
        late = next(reply for reply in tried if reply.status != 408)
        assert (late.status, late.body["code"]) == (503, "timeout")
        assert "3 s" in late.body["error"]
        assert int(late.headers["retry-after"]) > 0
        slow = http.client.HTTPConnection("127.0.0.1", port)
        slow.putrequest("POST", "/api/predict")
        slow.putheader("Content-Type", "multipart/form-data; boundary=x")
        slow.putheader("Content-Length", "1000")
        slow.endheaders()
        slow.send(b"--x\r\n")
        reply = slow.getresponse()
        assert (reply.status, b"slow_upload" in reply.read()) == (408, True)
        hold.set()
    assert not list(tmp_path.iterdir())


def test_connections_that_ask_for_nothing_are_closed(checkpoint, tmp_path, monkeypatch):
    """Those that ask are not, however long it takes."""
    monkeypatch.setattr(run, "_SILENT", 0.5)
    app = served(checkpoint, tmp_path)
    before = app.state.office.model.scores
    app.state.office.model.scores = lambda inputs: time.sleep(1.0) or before(inputs)
    loops, gate = [], threading.Event()

    class Noted(run.Impatient):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            loops.append(self.loop)

    with in_thread(app, http=Noted) as port:
        silent, half = (socket.create_connection(("127.0.0.1", port), 300) for _ in range(2))
        with silent, half:
            half.sendall(b"GET /health HTTP/1.1\r\nhost: 127")
            assert silent.recv(1) == b""
            assert half.recv(1) == b""
        with socket.create_connection(("127.0.0.1", port), 300) as second, contextlib.suppress(ConnectionError):
            second.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET /health HTTP/1.1\r\nhost: 127")
            while second.recv(1 << 16):
                second.sendall(b"0")  # as slowly as it likes
                time.sleep(0.1)
        with socket.create_connection(("127.0.0.1", port), 300) as asking:
            loops[0].call_soon_threadsafe(gate.wait, 300)  # until all of it is there
            asking.sendall(request("POST", "/api/predict", port, form({"text": "so glad"})))
            gate.set()
            assert asking.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_too_large_is_not_stored(checkpoint, tmp_path, monkeypatch):
    """Where the size is not told in advance, reading stops at the limit; the client still gets to know why."""
    app = served(checkpoint, tmp_path, upload_bytes=200_000)
    monkeypatch.setattr(guard, "_DRAINED", 20)
    seen = []

    def parts():
        body = form(clip=("a.wav", bytes(6_000_000)))
        for first in range(0, len(body), 100_000):
            seen.append(max([0, *(path.stat().st_size for path in tmp_path.glob("*/*"))]))
            yield body[first : first + 100_000]

    with in_thread(app) as port:
        client = http.client.HTTPConnection("127.0.0.1", port)
        head = {"Content-Type": "multipart/form-data; boundary=a-line-that-is-in-no-file"}
        client.request("POST", "/api/predict", parts(), head, encode_chunked=True)
        reply = client.getresponse()
        assert (reply.status, b"too_large" in reply.read()) == (413, True)
    assert max(seen) <= 200_000
    assert not list(tmp_path.iterdir())


def test_many_bytes_are_held(checkpoint, tmp_path, mix):
    app = served(checkpoint, tmp_path, held_bytes=50_000)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        reply = client.post("/api/predict", files={"clip": ("a.wav", bytes(60_000))})
        assert (reply.status_code, reply.json()["code"]) == (429, "busy")
        assert app.state.office.uploads.held == 0


def test_a_disk_that_takes_nothing(checkpoint, tmp_path):
    with TestClient(served(checkpoint, tmp_path / "gone"), base_url="http://127.0.0.1") as client:
        reply = client.post("/api/predict", files={"clip": ("a.wav", server_mix.sound(1.0))})
        assert (reply.status_code, reply.json()["code"]) == (503, "no_space")
        assert int(reply.headers["retry-after"]) > 0
        assert str(tmp_path) not in reply.text


def test_a_mistake_of_the_server(checkpoint, tmp_path, caplog):
    """Is told as such, without what it was; the next one is answered."""
    app = served(checkpoint, tmp_path)
    before = app.state.office.model.scores
    app.state.office.model.scores = lambda inputs: {}["secret"]
    with TestClient(app, base_url="http://127.0.0.1") as client:
        reply = client.post("/api/predict", files={"audio": ("a.wav", server_mix.sound(1.0))})
        assert (reply.status_code, reply.json()["code"]) == (500, "internal")
        assert "secret" not in reply.text
        assert reply.headers["x-content-type-options"] == "nosniff"
        app.state.office.model.scores = before
        assert client.post("/api/predict", files={"audio": ("a.wav", server_mix.sound(1.0))}).status_code == 200


def test_decoders_that_crash(checkpoint, tmp_path, monkeypatch):
    """One that a file breaks, one that runs for ever: told, with the upload's name."""
    from mm_fairseq.inference import reading

    def broken(path, *args):
        if Path(path).stat().st_size == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        while Path(path).stat().st_size == 2:
            pass
        return np.zeros(16000, np.int16)

    monkeypatch.setitem(reading.DECODERS, "sound", broken)
    monkeypatch.setattr("mm_fairseq.inference.reading.media_bounds.Limits", lambda memory=2 << 30: _limits(memory))
    monkeypatch.setattr("mm_fairseq.media.child._PATIENCE", 1000)  # what counts is the processor's time
    with TestClient(served(checkpoint, tmp_path), base_url="http://127.0.0.1") as client:
        for content, code in ((b"1", "crashed"), (b"22", "timeout")):
            reply = client.post("/api/predict", files={"audio": ("odd.wav", content)})
            assert (reply.status_code, reply.json()["code"]) == (422, code), reply.text
            assert "odd.wav: " in reply.json()["error"]
            assert str(tmp_path) not in reply.text
        assert client.post("/api/predict", files={"audio": ("a.wav", b"333")}).status_code == 200


_Limits = bounds.Limits


def _limits(memory):
    return _Limits(memory, 1.0)
