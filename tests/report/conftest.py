"""A maker of prediction lines, and a run folder as training and fairseq-validate leave it."""

import json

import numpy as np
import pytest

CLASSES = ("neutral", "sad", "angry")
RECORD = {
    "split": "test",
    "protocol": "leave_one_session_out",
    "fold": "2",
    "seed": 7,
    "arch": "ssl_fusion",
    "modalities": ["audio", "text"],
    "command": ["fairseq-train", "/home/somebody/corpus/data-bin", "--arch", "ssl_fusion", "--lr", "3e-4"],
    "versions": {"fairseq": "0.12.3.1", "torch": "2.11.0"},
    "data": "9f86d081884c7d65",
    "checkpoint": "checkpoint_best.pt",
    "utterances": 60,
    "metrics": {},
    "targets": [],
}


@pytest.fixture(scope="session")
def record():
    """What fairseq-validate writes into `results.json`."""
    return RECORD


@pytest.fixture(scope="session")
def line():
    """One line of predictions for an utterance; keywords override its fields."""

    def make(number, target="sad", prediction="sad", **fields):
        scores = {"neutral": 0.2, "sad": 0.1, "angry": 0.1} | {prediction: 0.7} if isinstance(prediction, str) else {}
        row = {
            "id": f"utt{number:03}",
            "split": "test",
            "name": "emotion",
            "kind": "single",
            "target": target,
            "prediction": prediction,
            "scores": scores,
            "modalities": ["audio", "text"],
            "speaker": "s1",
            "session": "1",
        }
        return json.dumps(row | fields, ensure_ascii=False)

    return make


@pytest.fixture
def write_lines(tmp_path):
    """Writes lines into a file below the temporary folder and returns its path."""

    def write(lines, name="predictions.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def random_lines(line):
    """Lines of one target of a kind: random truths, predictions and facts of 60 utterances by 12 speakers."""

    def make(kind="single", n=60, seed=0, classes=CLASSES, **fields):
        rng = np.random.default_rng(seed)
        facts = np.random.default_rng(99)
        lines = []
        for number in range(n):
            p, yes = rng.dirichlet(np.ones(len(classes))), facts.random(len(classes)) < 0.4
            truth, value = int(facts.integers(len(classes))), float(facts.integers(-6, 7) / 2)
            about = {
                "kind": kind,
                "speaker": f"s{number % 12:02}",
                "session": str(number % 3),
                "seconds": 0.5 + number / 10,
                "text": f"text {number}",
                "transcript_in_train": bool(number % 4 == 0),
                "attributes": {"style": "scripted" if number % 2 else "improvised"},
            }
            if kind == "regression":
                target, prediction, scores = value, value / 2 + float(rng.normal()), {}
            elif kind == "multilabel":
                p = rng.random(len(classes))
                target = [label for label, said in zip(classes, yes, strict=True) if said]
                prediction = [label for label, said in zip(classes, p, strict=True) if said > 0.5]
                scores = dict(zip(classes, p.tolist(), strict=True))
            else:
                p = p if kind == "single" else rng.random(len(classes))
                p[truth] += 0.5 * (1 - p[truth])
                p = p / p.sum() if kind == "single" else p
                target, prediction = classes[truth], classes[int(p.argmax())]
                scores = dict(zip(classes, p.tolist(), strict=True))
            row = {"target": target, "prediction": prediction, "scores": scores} | about | fields
            lines.append(line(number, **row))
        return lines

    return make


@pytest.fixture(scope="session")
def make_run(random_lines, record):
    """Makes a run: RUN/test/{predictions.jsonl,results.json} and RUN/train.log; of 60 utterances."""

    def make(folder, lines=None):
        (folder / "test").mkdir(parents=True)
        (folder / "test/predictions.jsonl").write_text("\n".join(lines or random_lines()), encoding="utf-8")
        (folder / "test/results.json").write_text(json.dumps(record), encoding="utf-8")
        logs = []
        for epoch in range(1, 5):
            for tag, wa in (("train", 0.2 * epoch), ("valid", 0.1 * epoch)):
                stats = {"epoch": epoch, f"{tag}_loss": f"{2 / epoch:.3f}", f"{tag}_wa": f"{wa:.2f}", f"{tag}_wps": "9"}
                stats |= {"valid_best_wa": "0.1"} if tag == "valid" else {}
                logs.append(f"2026-01-01 00:00:00 | INFO | {tag} | {json.dumps(stats)}")
        (folder / "train.log").write_text("\n".join(logs), encoding="utf-8")
        return folder

    return make


@pytest.fixture
def run_folder(make_run, tmp_path):
    """A run of one target."""
    return make_run(tmp_path / "run")
