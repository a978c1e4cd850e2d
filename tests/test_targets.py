"""Target kinds against torch and scikit-learn, and what a bad targets.json says."""

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sk

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import KINDS, Target, kind_of, read_targets, write_targets

CLASSES = ("neu", "sad", "ang", "hap")
TARGETS = {
    "single": Target("emotion", "single", CLASSES),
    "binary_each": Target("emotion", "binary_each", CLASSES),
    "regression": Target("sentiment", "regression"),
}
LABELS = {"single": CLASSES, "binary_each": CLASSES, "regression": ("-3", "0.5", "0", "1e0")}


def batch(name, size=40, missing=0.3, seed=0):
    """A kind, random logits and targets with missing labels."""
    torch.manual_seed(seed)
    kind = kind_of(TARGETS[name])
    rng = np.random.default_rng(seed)
    labels = ["" if rng.random() < missing else str(rng.choice(LABELS[name])) for _ in range(size)]
    return kind, 2 * torch.randn(size, kind.outputs), kind.collate([kind.encode(label) for label in labels])


def test_every_kind_is_covered():
    assert sorted(TARGETS) == KINDS.names()


def test_single_loss_is_cross_entropy():
    kind, logits, target = batch("single")
    kept = target >= 0
    expected = sk.log_loss(target[kept], logits[kept].double().softmax(-1), labels=range(4), normalize=False)
    assert kind.loss(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_binary_each_loss_is_the_original_systems():
    """Four two-way softmaxes over pairs of outputs, negative log-likelihood summed over classes and rows."""
    kind, logits, target = batch("binary_each")
    assert kind.outputs == 8
    kept = target >= 0
    expected = 0.0
    for index in range(4):
        pair = F.log_softmax(logits[kept][:, 2 * index : 2 * index + 2], dim=-1)
        expected += F.nll_loss(pair, (target[kept] == index).long(), reduction="sum").item()
    assert kind.loss(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_regression_loss_is_l1():
    kind, logits, target = batch("regression")
    pairs = [(p, t) for p, t in zip(logits[:, 0].tolist(), target.tolist(), strict=True) if not math.isnan(t)]
    assert kind.loss(logits, target).item() == pytest.approx(sum(abs(p - t) for p, t in pairs), rel=1e-5)


@pytest.mark.parametrize("name", TARGETS)
def test_missing_labels_enter_nothing(name):
    kind, logits, target = batch(name)
    kept = kind.present(target)
    assert 0 < kept.sum() < len(kept)
    torch.testing.assert_close(kind.loss(logits, target), kind.loss(logits[kept], target[kept]))
    for key, value in kind.counts(logits, target).items():
        torch.testing.assert_close(value, kind.counts(logits[kept], target[kept])[key])
    nothing = kind.collate([kind.encode("")] * 3)
    logits = logits[:3].requires_grad_()
    loss = kind.loss(logits, nothing)
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("size", [1, 7, 40])
def test_counts_add_up_over_any_batching(name, size):
    kind, logits, target = batch(name)
    whole = kind.counts(logits, target)
    parts = [kind.counts(a, b) for a, b in zip(logits.split(size), target.split(size), strict=True)]
    summed = {key: sum(part[key] for part in parts) for key in whole}
    for key, value in whole.items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(summed[key], value, rtol=1e-12, atol=1e-12)
    assert kind.metrics(summed) == pytest.approx(kind.metrics(whole), rel=1e-9)


@pytest.mark.parametrize("name", ["single", "binary_each"])
def test_metrics_equal_sklearn(name):
    kind, logits, target = batch(name)
    kept = target >= 0
    truth = target[kept].numpy()
    prediction = np.array([CLASSES.index(row["prediction"]) for row in kind.decode(logits[kept])])
    found = kind.metrics(kind.counts(logits, target))
    assert found["wa"] == pytest.approx(sk.accuracy_score(truth, prediction))
    assert found["ua"] == pytest.approx(sk.balanced_accuracy_score(truth, prediction))
    assert found["wf1"] == pytest.approx(sk.f1_score(truth, prediction, average="weighted", zero_division=0))
    assert found["mf1"] == pytest.approx(sk.f1_score(truth, prediction, average="macro", zero_division=0))


def test_binary_each_reports_every_class():
    kind, logits, target = batch("binary_each")
    kept = target >= 0
    found = kind.metrics(kind.counts(logits, target))
    for index, name in enumerate(CLASSES):
        truth = (target[kept] == index).numpy()
        yes = (logits[kept][:, 2 * index + 1] > logits[kept][:, 2 * index]).numpy()
        assert found[f"acc_{name}"] == pytest.approx(sk.accuracy_score(truth, yes))
        assert found[f"f1_{name}"] == pytest.approx(sk.f1_score(truth, yes, average="weighted", zero_division=0))


def test_regression_metrics_equal_sklearn():
    kind, logits, target = batch("regression")
    kept = ~target.isnan()
    found = kind.metrics(kind.counts(logits, target))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(target[kept], logits[kept][:, 0]), rel=1e-6)
    assert found["corr"] == pytest.approx(np.corrcoef(target[kept], logits[kept][:, 0])[0, 1], rel=1e-6)


def test_decode_is_plain_and_the_most_probable():
    kind, logits, _ = batch("single")
    for row, decoded in zip(logits, kind.decode(logits), strict=True):
        assert decoded["prediction"] == CLASSES[int(row.argmax())]
        assert list(decoded["scores"]) == list(CLASSES)
        assert sum(decoded["scores"].values()) == pytest.approx(1, abs=1e-5)
    kind, logits, _ = batch("binary_each")
    margins = logits[:, 1::2] - logits[:, 0::2]  # yes against no
    for row, decoded in zip(margins, kind.decode(logits), strict=True):
        assert decoded["prediction"] == CLASSES[int(row.argmax())]
        assert list(decoded["scores"].values()) == pytest.approx(torch.sigmoid(row).tolist(), abs=1e-5)
    assert kind_of(TARGETS["regression"]).decode(torch.tensor([[0.25]])) == [{"prediction": 0.25, "scores": {}}]
    json.dumps(kind.decode(logits))


@pytest.mark.parametrize("name", TARGETS)
def test_encode_and_label_are_opposites(name):
    kind = kind_of(TARGETS[name])
    for label in LABELS[name]:
        value = kind.collate([kind.encode(label)]).item()
        assert kind.label(value) == (float(label) if name == "regression" else label)
    assert kind.label(kind.collate([kind.encode("")]).item()) is None


@pytest.mark.parametrize(("name", "label"), [("single", "fru"), ("binary_each", "Neu"), ("single", "0")])
def test_unknown_label_names_the_allowed(name, label):
    with pytest.raises(MMFairseqError, match=rf"'{label}'.*'emotion'.*neu, sad, ang, hap"):
        kind_of(TARGETS[name]).encode(label)


@pytest.mark.parametrize("label", ["high", "nan", "inf", "1,5"])
def test_numbers_are_finite(label):
    with pytest.raises(MMFairseqError, match=rf"'{label}'.*'sentiment'"):
        kind_of(TARGETS["regression"]).encode(label)


def test_half_precision_logits_are_read_in_single():
    kind, logits, target = batch("single")
    assert kind.loss(logits.half(), target).dtype == torch.float32
    torch.testing.assert_close(kind.loss(logits.half(), target), kind.loss(logits, target), rtol=1e-2, atol=1e-2)


def test_targets_file_round_trip(tmp_path):
    named = Target("Gefühl-2", "single", ("süß", "sauer"), weight=0.5)
    targets = [TARGETS["single"], named, TARGETS["regression"]]
    write_targets(tmp_path / "targets.json", targets)
    assert read_targets(tmp_path / "targets.json") == targets


GOOD = {"name": "emotion", "kind": "single", "classes": ["a", "b"], "weight": 1.0}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "7",
        "{}",
        "[]",
        "[1]",
        json.dumps([{"name": "emotion", "kind": "single"}]),
        json.dumps([GOOD | {"kind": "softmax"}]),
        json.dumps([GOOD | {"kind": ["single"]}]),
        json.dumps([GOOD | {"classes": ["a"]}]),
        json.dumps([GOOD | {"classes": ["a", "a"]}]),
        json.dumps([GOOD | {"classes": "ab"}]),
        json.dumps([GOOD | {"classes": [1, 2]}]),
        json.dumps([GOOD | {"weight": "heavy"}]),
        json.dumps([GOOD | {"name": "a.b"}]),
        json.dumps([GOOD | {"name": "a:b"}]),
        json.dumps([GOOD | {"name": ""}]),
        json.dumps([GOOD, GOOD]),
    ],
)
def test_bad_targets_file_names_the_file(tmp_path, content):
    path = tmp_path / "targets.json"
    path.write_text(content)
    with pytest.raises(MMFairseqError, match=r"targets\.json"):
        read_targets(path)


def test_missing_targets_file(tmp_path):
    with pytest.raises(MMFairseqError, match=r"targets\.json: no such file"):
        read_targets(tmp_path / "targets.json")
