"""`mm-fairseq compare` from the command line."""

import json

import pytest

from mm_fairseq.cli import main


@pytest.fixture
def systems(tmp_path):
    """Two files of eight utterances by four speakers; the second errs less."""
    paths = []
    for name, wrong in (("first", {0, 1, 2, 5}), ("second", {0})):
        paths.append(tmp_path / f"{name}.jsonl")
        with paths[-1].open("w", encoding="utf-8") as file:
            for number in range(8):
                said = "sad" if number in wrong else "neu"
                line = {"id": f"u{number}", "split": "test", "name": "emotion", "target": "neu", "prediction": said}
                line |= {"scores": {"neu": 0.1, "sad": 0.1} | {said: 0.9}, "speaker": f"s{number // 2}"}
                file.write(json.dumps(line) + "\n")
    return list(map(str, paths))


def test_prints_both_values_and_the_test(systems, capsys):
    assert main(["compare", *systems, "--metric", "wa, ece", "--resamples", "200", "--seed", "4"]) == 0
    out = capsys.readouterr().out
    assert "B - A on test" in out
    row = next(line for line in out.splitlines() if " wa " in line)
    assert [cell.strip() for cell in row.split("│")][1:5] == ["wa", "0.500", "0.875", "+0.375"]
    assert "ece (lower is better)" in out
    assert f"A: {systems[0]}\nB: {systems[1]}\n" in out
    assert "200 resamples of 4 speakers, seed 4; p is two-sided" in out


def test_by_utterance(systems, capsys):
    assert main(["compare", *systems, "--metric", "wa", "--resamples", "9", "--by", "utterance"]) == 0
    assert "9 resamples of 8 utterances, seed 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metric", "uar"], "unknown metric 'uar'; these predictions have wa, ua"),
        (["--split", "valid"], "no predictions of split 'valid'; it has test"),
        (["--target", "mood"], "no target 'mood'; it has emotion"),
        (["--by", "session"], "these predictions name no session; resample by utterance"),
    ],
)
def test_faults_are_one_line(systems, capsys, options, message):
    assert main(["compare", *systems, *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
