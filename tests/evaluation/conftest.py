"""Predictions made up, and commands that stand in for fairseq's where its slowness teaches nothing."""

import json
import sys

import pytest

from mm_fairseq.evaluation import commands

CLASSES = ("neu", "sad")

TRAIN = """#!{python}
import sys, zipfile
from pathlib import Path
words = dict(zip(sys.argv, sys.argv[1:]))
folder = Path(words["--save-dir"])
print("training", " ".join(sys.argv[1:]), flush=True)
if words.get("--fail") == words["--fold"]:
    print("there is no such thing", flush=True)
    sys.exit(3)
(folder / "checkpoint_last.pt").write_text("begun")
with zipfile.ZipFile(folder / "checkpoint_best.pt", "w") as file:
    file.writestr("seed", words["--seed"])
print("done training")
"""

VALIDATE = """#!{python}
import json, sys, zipfile
from pathlib import Path
words = dict(zip(sys.argv, sys.argv[1:]))
checkpoint = Path(words["--path"])
seed = int(zipfile.ZipFile(checkpoint).read("seed") if zipfile.is_zipfile(checkpoint) else checkpoint.read_text())
fold = int(checkpoint.parents[1].name.removeprefix("fold_")) if "fold" in str(checkpoint) else 0
split = words["--valid-subset"]
if words.get("--fail", "none") == words.get("--modalities"):
    sys.exit(1)
modalities = words.get("--modalities", "audio,text").split(",")
folder = Path(words["--results-path"], split)
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "predictions.jsonl", "w") as file:
    for number in range(4):
        target = ("neu", "sad")[number % 2]
        right = number >= seed + fold - 2 + len(modalities) % 2
        prediction = target if right else ("sad", "neu")[number % 2]
        line = dict(id=f"f{{fold}}u{{number}}", split=split, name="emotion", kind="single", target=target)
        line |= dict(prediction=prediction, scores={{"neu": 0.3, "sad": 0.3}} | {{prediction: 0.7}})
        line |= dict(modalities=modalities[:number + 1], speaker=f"f{{fold}}s{{number // 2}}", session=str(fold))
        file.write(json.dumps(line) + "\\n")
(folder / "results.json").write_text(json.dumps(dict(split=split, protocol="loso", fold=str(fold), seed=seed)))
print("validating", " ".join(sys.argv[1:]))
"""


@pytest.fixture
def fake_fairseq(tmp_path, monkeypatch):
    """Both commands, in next to no time: what they get stands in their logs, what they predict depends on seed, fold.

    Training takes `--fail FOLD`, validation `--fail MODALITIES`. Of four utterances of a fold, the first
    seed + fold - 2 are predicted wrongly.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, source in (("fairseq-train", TRAIN), ("fairseq-validate", VALIDATE)):
        path = folder / name
        path.write_text(source.format(python=f"{sys.executable} -IS"))
        path.chmod(0o755)
    monkeypatch.setattr(commands, "find", lambda name: str(folder / name))


@pytest.fixture
def data(tmp_path):
    """What cross-validation looks at of a data-bin: two protocols, the second with three folds."""
    folder = tmp_path / "data-bin"
    folder.mkdir()
    protocols = [{"name": "official", "folds": ["1"]}, {"name": "loso", "folds": ["1", "2", "3"]}]
    (folder / "meta.json").write_text(json.dumps({"complete": True, "protocols": protocols}))
    (folder / "targets.json").write_text("[]")
    (folder / "manifest.tsv").write_text("# root=.\n")
    return folder


@pytest.fixture
def predictions(tmp_path):
    """Writes a file of predictions, `{id: (target, prediction)}`, and returns its path."""

    def write(name, rows, split="test", target="emotion", **fields):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for number, (key, (truth, said)) in enumerate(rows.items()):
                line = {"id": key, "split": split, "name": target, "target": truth, "prediction": said}
                line |= {"kind": "single", "scores": dict.fromkeys(CLASSES, 0.2) | {said: 0.8}}
                line |= {"modalities": ["audio"], "speaker": f"s{number // 2}", "session": "1"} | fields
                file.write(json.dumps(line) + "\n")
        return path

    return write
