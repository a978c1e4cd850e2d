"""The written report: files, the same bytes twice, several targets and splits, every kind."""

import csv
import re

import pytest

from mm_fairseq import report
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.report import runs, sections


def test_writes_every_file_with_the_same_numbers(run_folder, tmp_path):
    written = report.write(run_folder, tmp_path / "out", resamples=50)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "confusion.csv",
        "confusion_emotion.svg",
        "curve_emotion_loss.svg",
        "curve_emotion_wa.svg",
        "curves.csv",
        "index.html",
        "metrics.csv",
        "model_card.md",
        "predictions.csv",
        "reliability_emotion.svg",
        "report.md",
    ]
    assert sorted(written.files) == sorted(path.name for path in (tmp_path / "out").iterdir())
    value = written.sections[0].summary.values["wa"]
    assert written.name == "run"
    assert f"| run | {value:.3f} |" in (tmp_path / "out/report.md").read_text("utf-8")
    assert f"<dd>{value:.3f}</dd>" in (tmp_path / "out/index.html").read_text("utf-8")
    with (tmp_path / "out/metrics.csv").open(encoding="utf-8") as file:
        assert f"{value:.6f}" in {row["value"] for row in csv.DictReader(file) if row["metric"] == "wa"}


def test_markdown_shows_every_picture_and_where_the_numbers_come_from(run_folder, tmp_path):
    report.write(run_folder, tmp_path / "out", resamples=50)
    text = (tmp_path / "out/report.md").read_text("utf-8")
    shown = set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", text))
    assert shown == {path.name for path in (tmp_path / "out").glob("*.svg")}
    for fact in ("leave\\_one\\_session\\_out", "fairseq 0.12.3.1", "9f86d081884c7d65", "`fairseq-train ", "epoch 4"):
        assert fact in text
    assert not re.search(r"\n{4,}|\{[{%]", text)


def test_systems_side_by_side_are_told(run_folder, make_run, write_lines, random_lines, tmp_path):
    size = "\n2026-01-01 00:00:00 | INFO | fairseq_cli.train | num. shared model params: 5,200 (num. trained: 1,300)"
    other = make_run(tmp_path / "other")
    with (other / "train.log").open("a", encoding="utf-8") as file:
        file.write(size)
    foreign = write_lines(random_lines(), "foreign.jsonl")
    pairs = [("other", other), ("foreign", foreign)]
    written = report.write(run_folder, tmp_path / "out", compare=pairs, resamples=0)
    updates = written.run.record.updates or "-"
    assert [list(row) for row in written.systems[0].rows] == [
        ["run", "ssl_fusion", "audio + text", "-", "-", updates],
        ["other", "ssl_fusion", "audio + text", "5,200", "1,300", updates],
        ["foreign", "-", "-", "-", "-", "-"],
    ]
    for page in ("report.md", "index.html"):
        assert "5,200" in (tmp_path / "out" / page).read_text("utf-8")
    assert report.write(run_folder, tmp_path / "alone", resamples=0).systems == []
    assert report.write(foreign, tmp_path / "foreign", compare=[("again", foreign)], resamples=0).systems == []


def test_same_predictions_give_the_same_bytes(run_folder, tmp_path):
    for out in ("a", "b"):
        report.write(run_folder, tmp_path / out, compare=[("again", run_folder)], resamples=20)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_several_splits_and_targets_get_their_own_pictures(write_lines, random_lines, tmp_path):
    write_lines([*random_lines(), *random_lines(name="a b"), *random_lines(name="a_b")], "run/test/predictions.jsonl")
    write_lines(random_lines(split="valid"), "run/valid/predictions.jsonl")
    written = report.write(tmp_path / "run", tmp_path / "out", resamples=0)
    assert [section.title for section in written.sections] == [
        "emotion on test",
        "a b on test",
        "a_b on test",
        "emotion on valid",
    ]
    names = [picture.name for section in written.sections for picture in section.pictures]
    assert len(set(names)) == len(names) == 8
    assert all((tmp_path / "out" / name).is_file() for name in names)
    assert written.exact[0][0] == "test"
    assert written.exact[0][1][1] == 60


def test_curves_of_several_targets_go_to_their_own(run_folder, random_lines, tmp_path):
    file = run_folder / "test/predictions.jsonl"
    file.write_text("\n".join([*random_lines(), *random_lines(name="place")]), encoding="utf-8")
    log = (run_folder / "train.log").read_text("utf-8")
    (run_folder / "train.log").write_text(log.replace("_wa", "_wa_place"), encoding="utf-8")
    emotion, place = report.write(run_folder, tmp_path / "out", resamples=0).sections
    assert [picture.title for picture in emotion.curves] == ["loss by epoch", "wa_place by epoch"]
    assert [picture.title for picture in place.curves] == ["wa_place by epoch"]


@pytest.mark.parametrize("kind", ["single", "binary_each", "multilabel", "regression"])
def test_every_kind_beside_another_run(write_lines, random_lines, tmp_path, kind):
    path = write_lines(random_lines(kind))
    other = write_lines(random_lines(kind, seed=3)[5:], "other.jsonl")
    written = report.write(path, tmp_path / "out", compare=[("other", other)], resamples=30)
    (section,) = written.sections
    assert [change.metric for change in section.changes] == list(section.summary.main)
    assert {change.items for change in section.changes} == {55}
    assert section.different == ["other"]
    assert (section.confusion is None) == (kind in ("multilabel", "regression"))
    assert (section.calibration is None) == (kind == "regression")
    assert section.errors.rows
    assert "<b>other</b> was scored on other utterances" in (tmp_path / "out/index.html").read_text("utf-8")


def test_intervals_say_what_they_are_drawn_over(write_lines, random_lines, line):
    def sentence(lines, resamples=20):
        return sections.build([runs.read(write_lines(lines))], resamples).sections[0].drawn_over

    assert sentence(random_lines()) == "Intervals: 95 %, bootstrap over 12 speakers."
    assert "over utterances" in sentence(random_lines(speaker=""))
    assert "needs two" in sentence([line(1), line(2)])
    assert "2 speakers; of so few they are too narrow" in sentence([line(1), line(2, speaker="s2")])
    assert sentence(random_lines(), 0) == ""


@pytest.mark.parametrize("kind", ["single", "binary_each", "multilabel", "regression"])
def test_nothing_labelled_and_one_utterance(write_lines, random_lines, tmp_path, kind):
    for fields in ({"target": None}, {}):
        path = write_lines(random_lines(kind, n=1, **fields))
        report.write(path, tmp_path / "out", compare=[("same", path)], resamples=10)


def test_nothing_is_written_when_a_file_is_wrong(write_lines, random_lines, tmp_path):
    good, bad = write_lines(random_lines()), write_lines(["{}"], "bad.jsonl")
    with pytest.raises(MMFairseqError, match=r"bad.jsonl:1"):
        report.write(good, tmp_path / "out", compare=[("bad", bad)])
    assert not (tmp_path / "out").exists()
