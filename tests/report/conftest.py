"""A maker of prediction lines."""

import json

import pytest


@pytest.fixture
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
