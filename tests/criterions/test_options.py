"""Options of the loss: what their texts mean, and that every bad one is named with what is allowed."""

import pytest

from mm_fairseq.criterions.options import (
    EmotionPredictionCriterionConfig,
    check,
    parse_class_weights,
    parse_target_weights,
)
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.targets import Target, kind_of


def kinds_of(*targets):
    return {target.name: kind_of(target) for target in targets}


ONE = kinds_of(Target("emotion", "single", ("neu", "sad", "a=b")))
NUMBER = kinds_of(Target("score", "regression"))
SEVERAL = ONE | kinds_of(Target("events", "multilabel", ("speech", "music"))) | NUMBER


@pytest.mark.parametrize(
    ("text", "kinds", "expected"),
    [
        ("", ONE, {}),
        ("balanced", ONE, {"emotion": "balanced"}),
        ("balanced", SEVERAL, {"emotion": "balanced", "events": "balanced"}),
        ("1,2.5,1e-3", ONE, {"emotion": [1, 2.5, 0.001]}),
        (" 1, 2 ,3 ", ONE, {"emotion": [1, 2, 3]}),
        ("emotion:1,2,3", ONE, {"emotion": [1, 2, 3]}),
        ("sad=2", ONE, {"emotion": [1, 2, 1]}),
        ("a=b=4, neu=0.5", ONE, {"emotion": [0.5, 1, 4]}),
        ("emotion:balanced; events:music=3", SEVERAL, {"emotion": "balanced", "events": [1, 3]}),
        ("events:2,1;emotion:3,2,1;", SEVERAL, {"events": [2, 1], "emotion": [3, 2, 1]}),
    ],
)
def test_class_weights(text, kinds, expected):
    assert parse_class_weights(text, kinds) == expected


@pytest.mark.parametrize(
    ("text", "kinds", "words"),
    [
        ("1,2", ONE, r"'1,2': target 'emotion' has 3 classes \(neu, sad, a=b\), not 2; allowed: balanced, one weight"),
        ("1,2,3,4", ONE, r"3 classes.*not 4"),
        ("emotion:", ONE, r"3 classes.*not 1"),
        ("balance", ONE, r"'balance'.*not 1; allowed: balanced"),
        ("1,2,-3", ONE, r"'-3' is not a number above 0"),
        ("1,2,0", ONE, r"'0' is not a number above 0"),
        ("1,2,heavy", ONE, r"'heavy' is not a number above 0"),
        ("1,2,nan", ONE, r"'nan' is not a number above 0"),
        ("1,2,inf", ONE, r"'inf' is not a number above 0"),
        ("fru=2", ONE, r"'emotion' has no class 'fru'; it has neu, sad, a=b"),
        ("sad=", ONE, r"'' is not a number above 0"),
        ("sad=2,sad=3", ONE, r"the weight of a class is given twice"),
        ("mood:balanced", ONE, r"no target 'mood' of classes; there is emotion"),
        ("score:1", SEVERAL, r"no target 'score' of classes; there is emotion, events"),
        ("1,2,3", SEVERAL, r"name the target, TARGET:W,W,...; there is emotion, events"),
        ("emotion:1,2,3;emotion:balanced", SEVERAL, r"'emotion' are given twice"),
        ("balanced;events:1,2", SEVERAL, r"'events' are given twice"),
    ],
)
def test_bad_class_weights_are_named(text, kinds, words):
    with pytest.raises(MMFairseqError, match=f"^--class-weights.*{words}"):
        parse_class_weights(text, kinds)


def test_target_weights():
    assert parse_target_weights("", SEVERAL) == {}
    assert parse_target_weights("events=14, score = 0.5", SEVERAL) == {"events": 14, "score": 0.5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mood=1", r"no target 'mood'; there is emotion, events, score"),
        ("emotion", r"'' is not a number above 0"),
        ("emotion=-1", r"'-1' is not a number above 0"),
        ("emotion=0", r"'0' is not a number above 0"),
        ("emotion=much", r"'much' is not a number above 0"),
        ("emotion=1,emotion=2", r"'emotion' is given twice"),
    ],
)
def test_bad_target_weights_are_named(text, words):
    with pytest.raises(MMFairseqError, match=f"^--target-weights.*{words}"):
        parse_target_weights(text, SEVERAL)


@pytest.mark.parametrize(
    ("options", "kinds", "words"),
    [
        ({"label_smoothing": 1.0}, ONE, r"--label-smoothing 1.0: a share, at least 0 and below 1"),
        ({"label_smoothing": -0.1}, ONE, r"--label-smoothing -0.1"),
        ({"label_smoothing": float("nan")}, ONE, r"--label-smoothing nan"),
        ({"focal_gamma": -2.0}, ONE, r"--focal-gamma -2.0: a number of 0 or more"),
        ({"focal_gamma": float("inf")}, ONE, r"--focal-gamma inf"),
        ({"logit_adjustment": -1.0}, ONE, r"--logit-adjustment -1.0: a number of 0 or more"),
        ({"regression_loss": "l2"}, NUMBER, r"--regression-loss 'l2'; allowed: l1, mse"),
        ({"regression_loss": "mse"}, ONE, r"--regression-loss is for targets that are numbers; emotion is of classes"),
        ({"label_smoothing": 0.1}, NUMBER, r"--label-smoothing is for targets of classes; score is a number"),
        ({"class_weights": "balanced"}, NUMBER, r"--class-weights is for targets of classes; score is a number"),
        ({"focal_gamma": 2.0}, NUMBER, r"--focal-gamma is for targets of classes; score is a number"),
        ({"logit_adjustment": 1.0}, NUMBER, r"--logit-adjustment is for targets of classes; score is a number"),
    ],
)
def test_bad_options_are_named(options, kinds, words):
    with pytest.raises(MMFairseqError, match=words):
        check(EmotionPredictionCriterionConfig(**options), kinds)


def test_good_options_pass():
    every = {"label_smoothing": 0.1, "focal_gamma": 2.0, "logit_adjustment": 1.0, "regression_loss": "mse"}
    check(EmotionPredictionCriterionConfig(**every), SEVERAL)
    for kinds in (ONE, NUMBER):
        check(EmotionPredictionCriterionConfig(), kinds)
