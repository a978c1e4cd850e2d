"""Learning curves from training logs: each format, interruptions, torn lines."""

import math

import pytest

from mm_fairseq.report import curves

SIMPLE = """\
2026-11-21 11:20:22 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 1.6486 | wa 0.25 | wps 128 | bsz 8
2026-11-21 11:20:23 | INFO | train | epoch 001 | loss 1.8082 | wa 0.18 | wps 25608.3 | lr 0.001 | gnorm 4.364 | wall 12
2026-11-21 11:20:50 | INFO | valid | epoch 002 | valid on 'valid' subset | loss 1.4474 | wa 0.50 | ups 9 | best_wa 0.5
2026-11-21 11:20:51 | INFO | train_inner | epoch 002:    10 / 65 loss=1.9, wa=0.1
2026-11-21 11:20:52 | INFO | test | valid on 'test' subset | loss 9 | wa 0.9
"""
JSON = """\
2026-11-21 11:20:22 | INFO | valid | {"epoch": 1, "valid_loss": "1.6486", "valid_wa": "0.25", "valid_wps": "128816"}
2026-11-21 11:20:23 | INFO | train | {"epoch": 1, "train_loss": "1.8082", "train_wa": "0.18", "train_lr": "0.001"}
2026-11-21 11:20:50 | INFO | valid | {"epoch": 2, "valid_loss": "1.4474", "valid_wa": "0.50", "valid_best_wa": "0.5"}
"""


@pytest.mark.parametrize("text", [SIMPLE, JSON], ids=["simple", "json"])
def test_both_formats_say_the_same(tmp_path, text):
    (tmp_path / "train.log").write_text(text, encoding="utf-8")
    found = curves.read(tmp_path)
    assert found.values == {
        "loss": {"valid": {1: 1.6486, 2: 1.4474}, "train": {1: 1.8082}},
        "wa": {"valid": {1: 0.25, 2: 0.5}, "train": {1: 0.18}},
    }
    assert found.selects == "wa"
    assert found.best() == (2, 0.5)


def test_size_of_the_model(tmp_path):
    line = "2026-11-21 11:20:20 | INFO | fairseq_cli.train | num. {} model params: {} (num. trained: {})\n"
    log = line.format("shared", "6,418,596", "1,297,860") + line.format("expert", 0, 0) + SIMPLE
    (tmp_path / "train.log").write_text(log, encoding="utf-8")
    assert curves.read(tmp_path).parameters == (6418596, 1297860)
    (tmp_path / "train.log").write_text(SIMPLE, encoding="utf-8")
    assert curves.read(tmp_path).parameters is None


def test_of_a_repeated_epoch_the_last_one_counts(tmp_path):
    resumed = SIMPLE.splitlines()[2].replace("wa 0.50", "wa 0.75")
    (tmp_path / "train.log").write_text(SIMPLE + resumed, encoding="utf-8")
    assert curves.read(tmp_path).values["wa"]["valid"] == {1: 0.25, 2: 0.75}


@pytest.mark.parametrize(
    ("metric", "best"),
    [("mae", (3, 0.3)), ("mae_sentiment", (3, 0.3)), ("wa", (1, 0.4)), ("loss", (3, 0.3)), ("ua_mood", (1, 0.4))],
)
def test_the_last_of_the_best_by_the_metrics_direction_and_nan_never(tmp_path, metric, best):
    values = {1: "0.4", 2: "0.3", 3: "0.3", 4: "nan", 5: "0.35"}
    stats = [f'{{"epoch": {n}, "valid_{metric}": "{v}", "valid_best_{metric}": "0"}}' for n, v in values.items()]
    lines = [f"2026 | INFO | valid | {each}" for each in stats]
    (tmp_path / "train.log").write_text("\n".join(lines), encoding="utf-8")
    found = curves.read(tmp_path)
    assert found.best() == best
    assert math.isnan(found.values[metric]["valid"][4])


def test_any_log_where_there_is_no_train_log(tmp_path):
    (tmp_path / "b.log").write_text(JSON.splitlines()[2], encoding="utf-8")
    (tmp_path / "a.log").write_text(JSON.splitlines()[0], encoding="utf-8")
    assert curves.read(tmp_path).values["wa"]["valid"] == {1: 0.25, 2: 0.5}
    (tmp_path / "train.log").write_text(JSON.splitlines()[1], encoding="utf-8")
    assert curves.read(tmp_path).values["wa"] == {"train": {1: 0.18}}


@pytest.mark.parametrize(
    "line", ['| INFO | valid | {"epoch": 1, "valid_l', "| INFO | train | begin training epoch 1", "\udcff", "", "a | b"]
)
def test_torn_and_other_lines_are_passed_over(tmp_path, line):
    (tmp_path / "train.log").write_bytes(line.encode("utf-8", "surrogateescape"))
    found = curves.read(tmp_path)
    assert found.values == {}
    assert found.best() is None


@pytest.mark.parametrize(
    "lines",
    [
        [
            "epoch 001 | valid on 'valid' subset | loss 1.5 | ua 0.4 | best_ua 0.4",
            "epoch 001 | valid on 'other' subset | loss 9 | ua 0.9",
            "epoch 001:     10 / 24 loss=7, ua=0.1",
            "epoch 001 | loss 1.7 | ua 0.3",
        ],
        [
            '{"epoch": 1, "valid_loss": "1.5", "valid_ua": "0.4", "valid_best_ua": "0.4"}',
            '{"epoch": 1, "other_loss": "9", "other_ua": "0.9"}',
            '{"epoch": 1, "update": 0.4, "loss": "7", "ua": "0.1"}',
            '{"epoch": 1, "train_loss": "1.7", "train_ua": "0.3"}',
        ],
    ],
    ids=["simple", "json"],
)
def test_what_log_file_writes(tmp_path, lines):
    """fairseq's --log-file has neither time nor tag."""
    (tmp_path / "train.log").write_text("\n".join(lines))
    found = curves.read(tmp_path)
    assert found.values == {
        "loss": {"valid": {1: 1.5}, "train": {1: 1.7}},
        "ua": {"valid": {1: 0.4}, "train": {1: 0.3}},
    }
    assert found.selects == "ua"
