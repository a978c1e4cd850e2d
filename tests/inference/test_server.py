"""The server's routes: what they answer, and what they refuse with which words."""

import io
import json

import av
import numpy as np
import pytest
import soundfile
from server_mix import sound
from servers import BOUNDARY, form

pytest.importorskip("fastapi")

from dataclasses import replace

from fastapi.testclient import TestClient

from mm_fairseq.inference.server.app import create_app
from mm_fairseq.inference.server.limits import Limits
from mm_fairseq.inference.server.work import SharedModel

SMALL = Limits(upload_bytes=2_000_000, held_bytes=4_000_000, seconds=8.0, text_characters=500, queue=8, jobs=1)


@pytest.fixture(scope="module")
def served(small_models, tmp_path_factory):
    """A client, the model asked beside the server, and the server's folder of files."""
    checkpoint = small_models.checkpoint("ssl_fusion")
    folder = tmp_path_factory.mktemp("served")
    app = create_app(SharedModel.from_pretrained(checkpoint, max_seconds=SMALL.seconds), SMALL, folder)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client, small_models.model("ssl_fusion"), folder


@pytest.fixture
def client(served):
    yield served[0]
    assert not list(served[2].iterdir())  # no file of a request stays


def same(found, wanted):
    """Whether an answer is what `EmotionModel.predict` gives."""
    wanted = wanted.to_json()
    assert {name: found[name] for name in ("modalities", "predictions")} == {
        name: wanted[name] for name in ("modalities", "predictions")
    }
    for target, scores in wanted["targets"].items():
        assert [each["label"] for each in found["targets"][target]] == [each["label"] for each in scores]
        got = [each["score"] for each in found["targets"][target]]
        assert got == pytest.approx([each["score"] for each in scores], abs=1e-5)
    return True


def refused(reply, status, code):
    """Whether there is a reason, and in it no folder of this machine."""
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert reply.json()["error"]
    assert "/tmp" not in reply.text
    return reply.json()["error"]


@pytest.mark.parametrize("number", [0, 7])
def test_a_clip(client, served, small_models, number):
    clip = small_models.clips()[number]
    sent = {"clip": (clip.video.name, clip.video.read_bytes(), "video/mp4")}
    reply = client.post("/api/predict", files=sent, data={"text": clip.text})
    assert reply.status_code == 200, reply.text
    assert reply.json()["id"] == clip.video.name
    assert same(reply.json(), served[1].predict(clip.video, text=clip.text))


@pytest.mark.parametrize(
    ("parts", "data"),
    [
        ("", {"text": "that is wonderful"}),
        ("clip", {}),
        ("clip", {"without": "video"}),
        ("clip", {"without": ["video", "text"], "text": "not read"}),
        ("audio", {"text": "no, no"}),
        ("clip,audio", {}),
        ("clip", {"top_k": "1", "start": "0.2", "end": "1.1"}),
        ("clip", {"without": "audio, video", "text": "only this"}),
    ],
)
def test_subsets(client, served, small_models, tmp_path, parts, data):
    clip, path = small_models.clips()[3], tmp_path / "other.wav"
    path.write_bytes(sound(1.5))
    files = {"clip": ("a.mp4", clip.video.read_bytes()), "audio": ("other.wav", path.read_bytes())}
    if not parts:
        reply = client.post(
            "/api/predict",
            content=form(data),
            headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
        )
    else:
        reply = client.post("/api/predict", files={name: files[name] for name in parts.split(",")}, data=data)
    assert reply.status_code == 200, reply.text
    without = data.get("without", [])
    without = without.split(", ") if isinstance(without, str) else without
    wanted = served[1].predict(
        clip.video if "clip" in parts else None,
        path if "audio" in parts else None,
        data.get("text"),
        start=float(data["start"]) if "start" in data else None,
        end=float(data["end"]) if "end" in data else None,
        without=without,
        top_k=int(data["top_k"]) if "top_k" in data else None,
    )
    assert same(reply.json(), wanted)


def test_notes_name_the_upload(client, served, small_models, tmp_path):
    clip = small_models.clips()[0]
    silent = tmp_path / "silent.mp4"
    with av.open(str(clip.video)) as film, av.open(str(silent), "w") as out:
        track = out.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(film.streams.video[0]):
            if packet.dts is not None:
                packet.stream = track
                out.mux(packet)
    reply = client.post("/api/predict", files={"clip": ("my clip.mp4", silent.read_bytes())})
    assert reply.json()["modalities"] == ["video"]
    notes = {note["code"]: note["message"] for note in reply.json()["notes"]}
    assert notes["no_audio_track"].startswith("my clip.mp4: ")


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_sound_sent_as_a_clip_is_sound(client, ending):
    """Nobody is told that it has no pictures, as nobody is by the command."""
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.sin(np.arange(16000) * 0.05), 16000, format=ending.upper())
    reply = client.post("/api/predict", files={"clip": (f"a.{ending}", file.getvalue())}).json()
    assert (reply["modalities"], reply["notes"]) == (["audio"], [])
    silence = {"clip": ("a.wav", sound(1.0, value=0))}
    assert [note["code"] for note in client.post("/api/predict", files=silence).json()["notes"]] == ["silent"]
    told = refused(client.post("/api/predict", files={"clip": ("a.txt", b"only words" * 99)}), 415, "unreadable")
    assert told.count("a.txt") == 1
    assert "video: " not in told


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"these are words" * 99, 415, "unreadable"),
        (b"", 422, "empty"),
        (sound(2.0)[:30_000], 422, "truncated"),
        (sound(0.001), 422, "too_short"),
    ],
)
@pytest.mark.parametrize("part", ["clip", "audio"])
@pytest.mark.parametrize("route", ["predict", "explain"])
def test_words_do_not_hide_a_bad_file(client, route, part, content, status, code):
    """Who sends a file wants it to be used; withheld, it does not matter."""
    sent = {part: ("my.wav", content)}
    told = refused(client.post(f"/api/{route}", files=sent, data={"text": "so glad"}), status, code)
    assert "my.wav" in told or code == "too_short"
    assert "leave my.wav out to be answered from text" in told
    reply = client.post(f"/api/{route}", files=sent, data={"text": "so glad", "without": "audio,video"})
    assert reply.status_code == 200, reply.text


LFS = b"version https://git-lfs.github.com/spec/v1\n"
BAD = {
    "not read": ({"clip": ("a.txt", b"these are words" * 99)}, {}, 415, "unreadable"),
    "empty": ({"clip": ("a.mp4", b"")}, {}, 422, "empty"),
    "cut": ({"clip": ("a.wav", sound(2.0)[:30_000])}, {}, 422, "truncated"),
    "a playlist": ({"clip": ("a.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:/etc/hostname\n")}, {}, 415, "unreadable"),
    "too long": ({"audio": ("a.wav", sound(9.0))}, {}, 422, "too_long"),
    "too long, with words": ({"audio": ("a.wav", sound(9.0))}, {"text": "words"}, 422, "too_long"),
    "too large": ({"audio": ("a.wav", sound(80.0))}, {}, 413, "too_large"),
    "much too large": ({"audio": ("a.wav", bytes(9_000_000))}, {}, 413, "too_large"),
    "span outside": ({"audio": ("a.wav", sound(1.0))}, {"start": "5", "end": "6"}, 422, "span_outside"),
    "zero length": ({"audio": ("a.wav", sound(0.0))}, {}, 422, "empty"),
    "too short": ({"audio": ("a.wav", sound(0.001))}, {}, 422, "too_short"),
    "a link of git-lfs": ({"audio": ("a.mp4", LFS)}, {}, 422, "git_lfs_pointer"),
    "a link of git-lfs as a clip": ({"clip": ("a.mp4", LFS)}, {"text": "words"}, 422, "git_lfs_pointer"),
    "end before start": ({"audio": ("a.wav", sound(1.0))}, {"start": "1", "end": "0.5"}, 422, "bad_field"),
    "no number": ({"audio": ("a.wav", sound(1.0))}, {"start": "soon"}, 422, "bad_field"),
    "not finite": ({"audio": ("a.wav", sound(1.0))}, {"end": "nan"}, 422, "bad_field"),
    "beyond all": ({"audio": ("a.wav", sound(1.0))}, {"start": "1e308"}, 422, "bad_field"),
    "negative": ({"audio": ("a.wav", sound(1.0))}, {"start": "-1"}, 422, "bad_field"),
    "top_k 0": ({"audio": ("a.wav", sound(1.0))}, {"top_k": "0"}, 422, "bad_field"),
    "top_k 1.5": ({"audio": ("a.wav", sound(1.0))}, {"top_k": "1.5"}, 422, "bad_field"),
    "unknown modality": ({"audio": ("a.wav", sound(1.0))}, {"without": "smell"}, 422, "bad_field"),
    "nothing left": ({"audio": ("a.wav", sound(1.0))}, {"without": "audio,video,text"}, 422, "no_modality"),
    "unknown part": ({"audio": ("a.wav", sound(1.0))}, {"colour": "red"}, 422, "bad_field"),
    "unknown file": ({"film": ("a.wav", sound(1.0))}, {}, 422, "bad_field"),
    "long words": ({"audio": ("a.wav", sound(1.0))}, {"text": "so " * 200}, 413, "too_large"),
    "long words in parts": ({"audio": ("a.wav", sound(1.0))}, {"text": ["so " * 9999] * 9}, 413, "too_large"),
    "endless words": ({"audio": ("a.wav", sound(1.0))}, {"text": "so " * 100_000}, 413, "too_large"),
    "features": ({"features": ("a.npz", b"PK")}, {}, 422, "no_modality"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_clips(client, case):
    files, data, status, code = BAD[case]
    refused(client.post("/api/predict", files=files, data=data), status, code)


def test_nothing_is_given(client):
    """As a page sends it where no file was chosen."""
    head = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
    reply = client.post("/api/predict", content=form({"text": " "}, clip=("", b"")), headers=head)
    assert "nothing is given of audio, text, video" in refused(reply, 422, "no_modality")


def test_what_is_allowed_is_told(client):
    told = refused(client.post("/api/predict", files={"audio": ("a.wav", sound(9.0))}), 422, "too_long")
    assert "8 s" in told
    assert "/api/segments" in told
    told = refused(client.post("/api/predict", files={"film": ("a.wav", b"x")}), 422, "bad_field")
    assert "clip, audio" in told


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("application/json", b"{}", 415, "not_multipart"),
        ("multipart/form-data", b"", 415, "not_multipart"),
        ("multipart/form-data; boundary=x", b"--x\r\n", 422, "bad_form"),
        ("multipart/form-data; boundary=x", b"no form at all", 422, "bad_form"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\ncontent-disposition: form-data; name="text"\r\n\r\nhal',
            422,
            "bad_form",
        ),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"a: b\r\n" * 99, 422, "bad_form"),
        ("multipart/form-data; boundary=" + "x" * 999, b"", 422, "bad_form"),
    ],
)
def test_bad_forms(client, kind, body, status, code):
    refused(client.post("/api/predict", content=body, headers={"content-type": kind}), status, code)


def test_names_of_files(client):
    """They are shown as they are called, and lead nowhere."""
    for name, shown in {
        "../../etc/passwd.wav": "passwd.wav",
        "C:\\clips\\é.wav": "é.wav",
        "a" * 300 + ".wav": "a" * 96 + ".wav",
        "a\x1b[2Jb.wav": "a[2Jb.wav",
    }.items():
        body = form(audio=(name.replace("\\", "\\\\"), sound(0.5)))
        head = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        reply = client.post("/api/predict", content=body, headers=head)
        assert reply.status_code == 200, reply.text
        assert reply.json()["id"] == shown


def test_model_and_health(client, served):
    found = client.get("/api/model").json()
    model = served[1]
    assert found["architecture"] == "ssl_fusion"
    assert found["modalities"] == list(model.modalities)
    assert [each["name"] for each in found["targets"]] == ["emotion", "sentiment"]
    assert found["targets"][0] == {"name": "emotion", "kind": "single", "classes": list(model.targets[0].classes)}
    assert found["limits"]["seconds"] == 8.0
    assert found["limits"]["shortest_hop"] == 0.25
    assert found["limits"]["upload_bytes"] == SMALL.upload_bytes
    assert client.get("/health").json() | {"version": ""} == {
        "status": "ok",
        "version": "",
        "under_way": 0,
        "waiting": 0,
        "recordings": 0,
    }


def test_unknown_paths_and_methods(client):
    refused(client.get("/api/nothing"), 404, "not_found")
    refused(client.get("/page/../app.py"), 404, "not_found")
    refused(client.get("/page/%2e%2e/app.py"), 404, "not_found")
    refused(client.get("/api/predict"), 405, "refused")


def test_openapi(client, served, small_models):
    """What is documented is what comes; nothing of it asks for anything from the network."""
    document = client.get("/openapi.json").json()
    text = json.dumps(document)
    assert "http://" not in text
    assert "https://" not in text
    schemas = document["components"]["schemas"]
    for ways in document["paths"].values():
        for route in ways.values():
            assert route["description"]
    route = document["paths"]["/api/predict"]["post"]
    assert set(route["responses"]) >= {"200", "403", "413", "415", "422", "429", "503"}
    parts = route["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    assert set(parts) == {"clip", "audio", "features", "text", "without", "top_k", "start", "end"}
    reply = client.post("/api/predict", files={"audio": ("a.wav", sound(0.5))}).json()
    assert set(reply) == set(schemas["Prediction"]["required"])
    assert client.get("/docs").status_code == 404
    listed = client.get("/api").text
    for path in document["paths"]:
        assert path in listed


def test_page_and_headers(client):
    for path in ("/", "/api", "/api/model", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in headers
    reply = client.get("/")
    assert reply.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"host": "evil.example"}, "foreign_host"),
        ({"host": "127.0.0.1.evil.example"}, "foreign_host"),
        ({"host": "localhost@evil.example"}, "foreign_host"),
        ({"host": "192.168.1.4:8000"}, "foreign_host"),
        ({"host": ""}, "foreign_host"),
        ({"origin": "http://evil.example"}, "foreign_origin"),
        ({"origin": "null"}, "foreign_origin"),
        ({"origin": "http://127.0.0.1:3000"}, "foreign_origin"),
        ({"sec-fetch-site": "cross-site"}, "foreign_origin"),
        ({"sec-fetch-site": "same-site"}, "foreign_origin"),
    ],
)
def test_other_sites(client, headers, code):
    files = {"audio": ("a.wav", sound(0.5))}
    refused(client.post("/api/predict", files=files, headers=headers), 403, code)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"},
        {"host": "localhost:9000", "origin": "http://localhost:9000"},
        {"host": "[::1]:8000"},
        {"sec-fetch-site": "none"},
    ],
)
def test_the_own_page(client, headers):
    assert client.post("/api/predict", files={"audio": ("a.wav", sound(0.5))}, headers=headers).status_code == 200


def test_links_from_elsewhere_lead_to_the_page(client):
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200


def test_no_other_site_is_allowed_by_cors(client):
    reply = client.options(
        "/api/predict", headers={"origin": "http://evil.example", "access-control-request-method": "POST"}
    )
    assert reply.status_code == 403
    assert "access-control-allow-origin" not in reply.headers


def test_served_to_others(small_models, tmp_path):
    """By any address, and by names that are its own; a page must still be the server's own."""
    model = SharedModel.from_pretrained(small_models.checkpoint("ssl_fusion"))
    app = create_app(model, replace(SMALL, queue=1), tmp_path, local=False, names=["Studio.example"])
    with TestClient(app, base_url="http://studio.example") as client:
        assert client.get("/api/model").status_code == 200
        assert client.get("/api/model", headers={"origin": "http://studio.example"}).status_code == 200
        refused(client.get("/api/model", headers={"origin": "http://evil.example"}), 403, "foreign_origin")
        for name in ("192.168.1.4:8000", "[fe80::1]:8000", "localhost"):
            assert client.get("/api/model", headers={"host": name}).status_code == 200
        refused(client.get("/api/model", headers={"host": "evil.example"}), 403, "foreign_host")


def test_only_heads(client):
    for path in ("/", "/api", "/api/model", "/health", "/openapi.json"):
        found, whole = client.head(path), client.get(path)
        assert (found.status_code, found.content) == (200, b"")
        assert found.headers["content-length"] == whole.headers["content-length"]
    assert client.head("/nothing").status_code == 404
    assert client.head("/api/predict").status_code == 405
