"""What may be asked of a cross-validation, and what may change when it is taken up again."""

import json
from dataclasses import replace

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.evaluation import plan


def make(data, protocol="loso", folds=(), seeds=("1",), arguments=(), arch=("--arch", "a")):
    return plan.make(data, protocol, folds, seeds, data.parent / "out", (*arch, *arguments))


def test_everything_by_default(data):
    made = make(data, protocol="")
    assert (made.protocol, made.folds, made.seeds) == ("official", ("1",), (1,))
    made = make(data, seeds=("3", "1", "3"), folds=("3", "1"))
    assert (made.folds, made.seeds) == (("1", "3"), (3, 1))
    assert made.folder("3", 1) == data.parent / "out" / "loso" / "fold_3" / "seed_1"


def test_defaults_give_way_to_the_users_arguments(data):
    arguments = ["--criterion", "mine", "--log-format=json", "--lr", "-1"]
    words = make(data, arguments=arguments).arguments
    assert words == ("--task", "emotion_prediction", "--no-epoch-checkpoints", "--arch", "a", *arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"protocol": "random"}, r"--protocol 'random'; .* has official, loso"),
        ({"folds": ("1", "4")}, r"--folds '4'; protocol loso has 1, 2, 3"),
        ({"seeds": ("1", "one")}, r"--seeds 'one': whole numbers"),
        ({"seeds": ()}, r"--seeds: at least one"),
        ({"arguments": ("--lr", "1", "--save-dir", "x", "--seed=3")}, r"crossval sets --save-dir, --seed by itself"),
        ({"arch": ()}, r"no --arch among the arguments"),
        ({"arguments": ("--valid-subset", "test")}, r"crossval sets --valid-subset by itself"),
    ],
)
def test_what_cannot_be_is_named(data, options, message):
    with pytest.raises(MMFairseqError, match=message):
        make(data, **options)


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (None, "not a data-bin"),
        ("[", "meta.json: damaged"),
        ("[]", "meta.json: damaged"),
        ('{"complete": false, "protocols": []}', "binarizing was not finished"),
        ('{"complete": true, "protocols": []}', "belongs to a split"),
    ],
)
def test_a_data_bin_that_is_none(data, meta, message):
    (data / "meta.json").unlink()
    if meta is not None:
        (data / "meta.json").write_text(meta)
    with pytest.raises(MMFairseqError, match=message):
        make(data)


def test_what_differs_from_the_first_time_is_told(data, tmp_path):
    path, made = tmp_path / "crossval.json", make(data, arguments=("--lr", "0.1"))
    first = plan.settings(made)
    plan.check_same(path, {**first, "protocol": "one in which nothing was trained"})
    plan.check_same(path, first)
    (tmp_path / "checkpoint_last.pt").write_text("")
    plan.check_same(path, plan.settings(replace(made, seeds=(5,), folds=("2",))))
    changed = [
        (
            plan.settings(replace(made, arguments=(*made.arguments[:-1], "0.2"))),
            r"arguments was .*--lr 0.1, is .*--lr 0.2;",
        ),
        (plan.settings(replace(made, protocol="official")), "protocol was loso, is official;"),
        ({**first, "versions": {**first["versions"], "torch": "9"}}, r"versions was .*torch 2\..*, is .*torch 9"),
    ]
    (data / "targets.json").write_text("[1]")
    changed.append((plan.settings(made), "targets was .*, is"))
    (data / "manifest.tsv").write_text("# root=.\nanother\n")
    changed.append((plan.settings(made), "data was .*, is .*; targets was"))
    for now, message in changed:
        with pytest.raises(MMFairseqError, match=f"was begun differently: {message}.*name another --out"):
            plan.check_same(path, now)
    assert json.loads(path.read_text()) == first


def test_settings_that_are_none(data, tmp_path):
    (tmp_path / "crossval.json").write_text("{}")
    (tmp_path / "checkpoint_last.pt").write_text("")
    with pytest.raises(MMFairseqError, match="not the settings of a cross-validation"):
        plan.check_same(tmp_path / "crossval.json", plan.settings(make(data)))
