"""The server with models of every kind of target, and of features."""

import json

import fairseq_cli.train
import numpy as np
import pytest
from commands import TRAIN
from databin_factory import write_data_bin
from feature_factory import to_features
from server_mix import sound
from servers import BOUNDARY, form
from trainings import CPU, call

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from mm_fairseq.inference.server.app import create_app
from mm_fairseq.inference.server.limits import Limits
from mm_fairseq.inference.server.work import SharedModel

TINY = [
    "--arch",
    "ssl_fusion",
    "--modalities",
    "audio,text",
    "--encoder-layers",
    "1",
    "--encoder-layers-cross",
    "1",
    "--embed-dim",
    "16",
]
TINY += ["--encoder-ffn-embed-dim", "32", "--encoder-attention-heads", "2", "--batch-size", "8", "--max-update", "2"]
HEAD = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def served(folder, data_bin, *options):
    """A client of a tiny model of a made-up data-bin that says how `binarize` would have made it, and the model."""
    meta = json.loads((data_bin / "meta.json").read_text())
    meta |= {"faces": "none", "settings": {"max_seconds": 60.0}, "tokenizer": {"name": "words", "files": []}}
    for stream in meta["streams"].values():
        stream.setdefault("dim", 0)
    (data_bin / "meta.json").write_text(json.dumps(meta))
    call(fairseq_cli.train.cli_main, [data_bin, *TRAIN, *TINY, *CPU, "--save-dir", folder / "run", *options])
    model = SharedModel.from_pretrained(folder / "run", max_seconds=2.0)
    (folder / "served").mkdir()
    app = create_app(model, Limits(seconds=2.0, jobs=1), folder / "served")
    return TestClient(app, base_url="http://127.0.0.1"), model


def test_every_kind_of_target(tmp_path):
    client, model = served(tmp_path, write_data_bin(tmp_path / "data-bin", frame_size=16, every_kind=True))
    with client:
        (tmp_path / "a.wav").write_bytes(sound(1.0))
        body = form({"text": "w1 w3"}, audio=("a.wav", sound(1.0)))
        reply = client.post("/api/predict", content=body, headers=HEAD)
        assert reply.status_code == 200, reply.text
        wanted = model.predict(audio=tmp_path / "a.wav", text="w1 w3").to_json()
        assert reply.json() == wanted | {"id": "a.wav"}
        kinds = {each["kind"] for each in client.get("/api/model").json()["targets"]}
        assert kinds >= {"single", "multilabel", "regression"}
        assert client.post("/api/explain", content=body, headers=HEAD).status_code == 200


def test_features(tmp_path):
    """In a file of their own, of no more frames than a clip may have."""
    data_bin = to_features(write_data_bin(tmp_path / "data-bin", frame_size=16), {"audio": 5, "text": 3})
    client, model = served(tmp_path, data_bin, "--audio-backbone", "features", "--text-backbone", "features")
    with client:
        assert client.get("/api/model").json()["features"] == ["audio", "text"]

        def ask(frames):
            given = {name: np.full((frames, dim), 0.1, np.float32) for name, dim in {"audio": 5, "text": 3}.items()}
            np.savez(tmp_path / "a.npz", **given)
            body = form(features=("a.npz", (tmp_path / "a.npz").read_bytes()))
            return client.post("/api/predict", content=body, headers=HEAD), given

        reply, given = ask(6)
        assert reply.status_code == 200, reply.text
        assert reply.json() == model.predict(features=given).to_json() | {"id": "a.npz"}
        reply, _ = ask(201)
        assert (reply.status_code, reply.json()["code"]) == (422, "too_long")
        reply = client.post("/api/predict", content=form(features=("a.npz", b"none")), headers=HEAD)
        assert (reply.status_code, reply.json()["code"]) == (415, "unreadable"), reply.text
        assert str(tmp_path) not in reply.text
