"""Recordings that the server answers window by window, and explanations."""

import base64
import csv
import io
import json
import socket
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient
from servers import form, in_thread, request, until

from mm_fairseq.inference.reading import ClipReader
from mm_fairseq.inference.server import jobs, recordings
from mm_fairseq.inference.server.app import create_app
from mm_fairseq.inference.server.limits import Limits
from mm_fairseq.inference.server.run import Impatient
from mm_fairseq.inference.server.work import SharedModel
from mm_fairseq.inference.windows import predict_segments

TIMES = {"timeout_seconds": 1000.0, "kept_seconds": 1000.0}
LIMITS = Limits(upload_bytes=4_000_000, seconds=8.0, recording_seconds=40.0, recordings=2, jobs=1, **TIMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def client(small_models, folder):
    model = SharedModel.from_pretrained(small_models.checkpoint("ssl_fusion"), max_seconds=8.0)
    with TestClient(create_app(model, LIMITS, folder), base_url="http://127.0.0.1:8000") as found:
        yield found


@pytest.fixture(scope="module")
def clip(small_models):
    return small_models.clips()[2]


def sound(seconds):
    """A WAV of a tone."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(int(seconds * 16000)) * 0.05), 16000, format="WAV")
    return file.getvalue()


def ended(client, url):
    """The state of a job when it has ended."""
    until(lambda: client.get(url).json()["status"] not in ("waiting", "running"))
    return client.get(url).json()


def test_segments(client, folder, small_models, tmp_path):
    """Those of `predict_segments`, in every form; nothing stays when they are forgotten."""
    path = tmp_path / "talk.wav"
    path.write_bytes(sound(9.0))
    subtitles = "WEBVTT\n\n00:00.000 --> 00:03.000\nthat is wonderful\n"
    reply = client.post(
        "/api/segments",
        files={"clip": ("talk.wav", path.read_bytes())},
        data={"window": "3", "hop": "1.5", "subtitles": subtitles},
    )
    assert reply.status_code == 202, reply.text
    assert reply.headers["location"] == reply.json()["url"]
    state = ended(client, reply.json()["url"])
    assert (state["status"], state["progress"], state["name"]) == ("done", 1.0, "talk.wav")
    (tmp_path / "words.vtt").write_text(subtitles)
    model = small_models.model("ssl_fusion")
    wanted = [
        each.to_json(model.kinds)
        for each in predict_segments(model, path, None, 3, 1.5, subtitles=tmp_path / "words.vtt")
    ]
    reply = client.get(state["results"]["json"])
    assert reply.headers["content-disposition"] == 'attachment; filename="talk.segments.json"'
    assert len(reply.json()) == state["segments"] == len(wanted) == 5
    for found, each in zip(reply.json(), wanted, strict=True):
        assert (found["start"], found["end"], found["emotion"]) == (each["start"], each["end"], each["emotion"])
        assert found["scores"]["emotion"] == pytest.approx(each["scores"]["emotion"], abs=1e-5)
    assert "text" in wanted[0]["modalities"]
    assert str(folder) not in reply.text
    rows = list(csv.DictReader(io.StringIO(client.get(state["results"]["csv"]).text)))
    assert [row["start"] for row in rows] == [str(each["start"]) for each in wanted]
    assert client.get(f"{state['url']}/segments.exe").status_code == 404
    assert client.get(state["results"]["vtt"]).text.startswith("WEBVTT")
    assert client.get(state["results"]["png"]).content.startswith(b"\x89PNG")
    reply = client.delete(state["url"])
    assert (reply.status_code, reply.content, reply.headers.get("content-type")) == (204, b"", None)
    assert client.get(state["url"]).status_code == 404
    assert client.get(state["results"]["json"]).status_code == 404
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("files", "data", "status", "code"),
    [
        ({}, {"window": "5"}, 422, "no_modality"),
        ({"clip": ("a.wav", b"x")}, {"hop": "0.01"}, 422, "bad_field"),
        ({"clip": ("a.wav", b"x")}, {"hop": "0"}, 422, "bad_field"),
        ({"clip": ("a.wav", b"x")}, {"window": "0"}, 422, "bad_field"),
        ({"clip": ("a.wav", b"x")}, {"window": "1", "hop": "2"}, 422, "bad_field"),
        ({"clip": ("a.wav", b"x")}, {"window": "9"}, 422, "bad_field"),
        ({"clip": ("a.wav", b"x")}, {"text": "words"}, 422, "bad_field"),
        ({"clip": ("a.wav", b"x")}, {"subtitles": "no times"}, 422, "bad_field"),
        ({"clip": ("a.wav", b"x")}, {"subtitles": "00:01.000 -> 00:02.000\nlost"}, 422, "bad_field"),
        ({"features": ("a.npz", b"x")}, {}, 422, "no_modality"),
        ({"clip": ("a.wav", bytes(5_000_000))}, {}, 413, "too_large"),
    ],
)
def test_what_is_refused_at_once(client, folder, files, data, status, code):
    files = files or {"clip": ("", b"")}
    if code == "no_modality" and "features" not in files:
        body = b'--x\r\ncontent-disposition: form-data; name="window"\r\n\r\n5\r\n--x--\r\n'
        reply = client.post("/api/segments", content=body, headers={"content-type": "multipart/form-data; boundary=x"})
    else:
        reply = client.post("/api/segments", files=files, data=data)
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (b"no sound at all", "unreadable", "a.wav"),
        (b"", "empty", "a.wav"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git_lfs_pointer", "a.wav"),
        (None, "too_long", "40 s"),
    ],
)
def test_recordings_that_fail(client, folder, content, code, told):
    """The word is that of /api/predict; who asks for results gets to know why there are none."""
    if content is not None:
        assert client.post("/api/predict", files={"clip": ("a.wav", content)}).json()["code"] == code
    content = sound(41.0) if content is None else content
    url = client.post("/api/segments", files={"clip": ("a.wav", content)}).json()["url"]
    state = ended(client, url)
    assert (state["status"], state["code"]) == ("failed", code)
    assert told in state["error"]
    assert str(folder) not in state["error"]
    reply = client.get(state["results"]["json"])
    assert (reply.status_code, reply.json()["code"]) == (409, "not_done")
    assert reply.json()["error"] == f"the recording failed: {state['error']}"
    client.delete(url)
    assert not list(folder.iterdir())


def stepwise(segments, steps):
    """The same ones, each when a semaphore lets it."""

    def one_by_one(*args, **more):
        for segment in segments(*args, **more):
            steps.acquire(timeout=300)
            yield segment

    return one_by_one


def test_room_and_stops(client, folder, monkeypatch):
    """So many at once; one that is stopped ends, and the next gets its turn."""
    steps = threading.Semaphore(0)
    monkeypatch.setattr(jobs, "segments", stepwise(jobs.segments, steps))
    sent = {"files": {"clip": ("a.wav", sound(20.0))}, "data": {"window": "1", "hop": "0.25"}}
    first, second = (client.post("/api/segments", **sent).json()["url"] for _ in range(2))
    full = client.post("/api/segments", **sent)
    assert (full.status_code, full.json()["code"]) == (429, "busy")
    assert int(full.headers["retry-after"]) > 0
    assert client.get("/health").json()["recordings"] == 2
    assert client.get(second).json()["status"] == "waiting"
    assert client.delete(first).status_code == 204
    assert client.get("/health").json()["recordings"] == 2  # it ends with its batch
    assert client.post("/api/segments", **sent).status_code == 429
    steps.release()
    until(lambda: client.get(second).json()["status"] != "waiting")
    state = client.get(second).json()
    assert state["status"] == "running"
    assert "is running" in client.get(state["results"]["csv"]).json()["error"]
    assert client.get("/health").json()["recordings"] == 1
    client.delete(second)
    steps.release()
    until(lambda: not list(folder.iterdir()))
    assert client.get("/health").json()["recordings"] == 0


def test_words_of_a_window_have_a_bound(client, monkeypatch):
    seen, before = [], ClipReader.read
    monkeypatch.setattr(
        ClipReader, "read", lambda reader, clip, *more: seen.append(clip.text) or before(reader, clip, *more)
    )
    subtitles = "00:00.000 --> 00:02.000\n" + "so " * 200_000
    sent = {"window": "2", "hop": "2", "subtitles": subtitles}
    url = client.post("/api/segments", files={"clip": ("a.wav", sound(2.0))}, data=sent).json()["url"]
    assert ended(client, url)["status"] == "done"
    assert [len(text) for text in seen] == [LIMITS.text_characters]
    client.delete(url)


def test_who_has_left_begins_with_nothing(small_models, tmp_path, monkeypatch):
    """Nobody would know the name of the job."""
    came, gone, hold = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(recordings, "_cues", lambda text: came.set() or (hold.wait(300) and ()))

    class Watched(Impatient):
        def connection_lost(self, error):
            super().connection_lost(error)
            gone.set()

    app = create_app(SharedModel.from_pretrained(small_models.checkpoint("ssl_fusion")), LIMITS, tmp_path)
    office = app.state.office
    with in_thread(app, http=Watched) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(request("POST", "/api/segments", port, form(clip=("a.wav", sound(2.0)))))
            assert came.wait(300)
        assert gone.wait(300)
        hold.set()
        until(lambda: office.under_way == 0)
        assert not office.jobs._jobs
        assert not list(tmp_path.iterdir())


def test_recordings_that_wait_are_given_up_at_once(client, folder, monkeypatch):
    """Neither their files stay nor a task each."""
    hold, before, seen = threading.Event(), jobs.segments, []

    def held(model, recording, cues, size, **more):
        seen.append(size)
        hold.wait(300)
        yield from before(model, recording, cues, size, **more)

    monkeypatch.setattr(jobs, "segments", held)
    sent = {"files": {"clip": ("a.wav", sound(8.0))}, "data": {"window": "8", "hop": "1"}}
    first = client.post("/api/segments", **sent).json()["url"]
    until(lambda: seen == [3])  # batches of at most 30 s
    kept, office = len(list(folder.iterdir())), client.app.state.office
    for _ in range(3):
        reply = client.post("/api/segments", **sent)
        assert reply.status_code == 202
        client.delete(reply.json()["url"])
        assert len(list(folder.iterdir())) == kept
    assert office.uploads.held == len(sent["files"]["clip"][1])
    client.delete(first)
    hold.set()
    until(lambda: not list(folder.iterdir()) and len(office.jobs._tasks) == 1)  # who sweeps
    assert office.uploads.held == 0


def test_what_nobody_asks_for_is_given_up(small_models, tmp_path, monkeypatch):
    """Done, running or waiting; as long as somebody asks, it goes on."""
    now, steps = [0.0], threading.Semaphore(1000)
    monkeypatch.setattr(jobs, "segments", stepwise(jobs.segments, steps))
    monkeypatch.setattr(jobs, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(jobs, "_SWEEP", 0.05)
    model = SharedModel.from_pretrained(small_models.checkpoint("ssl_fusion"))
    app = create_app(model, replace(LIMITS, kept_seconds=60.0), tmp_path)
    known = app.state.office.jobs
    with TestClient(app, base_url="http://127.0.0.1") as client:
        sent = {"files": {"clip": ("a.wav", sound(4.0))}, "data": {"window": "1", "hop": "0.25"}}
        url = client.post("/api/segments", **sent).json()["url"]
        assert ended(client, url)["status"] == "done"
        until(lambda: not known)
        now[0] += 100
        until(lambda: not list(tmp_path.iterdir()))
        assert client.get(url).status_code == 404
        while steps.acquire(blocking=False):
            pass
        urls = [client.post("/api/segments", **sent).json()["url"] for _ in range(2)]
        for _ in range(3):
            assert [client.get(url).json()["status"] for url in urls] == ["running", "waiting"]
            now[0] += 50
            time.sleep(0.2)  # some sweeps
        now[0] += 50
        until(lambda: not known._jobs)
        steps.release()
        until(lambda: not known and not list(tmp_path.iterdir()))
        assert [client.get(url).status_code for url in urls] == [404, 404]
        assert app.state.office.uploads.held == 0


def test_the_end_does_not_wait_for_who_sweeps(small_models, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "_PATIENCE", 600)
    app = create_app(SharedModel.from_pretrained(small_models.checkpoint("ssl_fusion")), LIMITS, tmp_path)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        url = client.post("/api/segments", files={"clip": ("a.wav", sound(2.0))}).json()["url"]
        assert ended(client, url)["status"] == "done"
        began = time.monotonic()
    assert time.monotonic() - began < 300


def test_an_explanation(client, folder, small_models, clip):
    sent = {"files": {"clip": ("my.mp4", clip.video.read_bytes())}, "data": {"text": clip.text}}
    reply = client.post("/api/explain", **sent)
    assert reply.status_code == 200, reply.text
    found, answer = reply.json(), client.post("/api/predict", **sent).json()
    assert found["answer"]["predictions"] == answer["predictions"]
    for target, scores in answer["targets"].items():
        wanted = {each["label"]: each["score"] for each in scores}
        got = {each["label"]: each["score"] for each in found["answer"]["targets"][target]}
        assert got == pytest.approx(wanted, abs=1e-5)
    assert {tuple(each["without"]) for each in found["explanation"]["without"]} >= {("audio",), ("text",), ("video",)}
    assert set(found["explanation"]["attention"]) == {"audio", "text", "video"}
    kind, data = found["picture"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert str(folder) not in reply.text
    assert not list(folder.iterdir())


def test_choices_of_an_explanation(client, clip):
    sent = {"clip": ("my.mp4", clip.video.read_bytes())}
    dark = client.post(
        "/api/explain", files=sent, data={"theme": "dark", "picture": "svg", "target": "sentiment"}
    ).json()
    assert b"<svg" in base64.b64decode(dark["picture"].split(",")[1])
    assert dark["explanation"]["target"] == "sentiment"
    none = client.post("/api/explain", files=sent, data={"picture": "none", "without": "video"}).json()
    assert none["picture"] is None
    assert none["answer"]["modalities"] == ["audio"]
    for name, value in {"theme": "pink", "picture": "gif", "target": "hunger", "top_k": "1"}.items():
        reply = client.post("/api/explain", files=sent, data={name: value})
        assert (reply.status_code, reply.json()["code"]) == (422, "bad_field")
        assert json.dumps(value)[1:-1] in reply.json()["error"] or name in reply.json()["error"]
