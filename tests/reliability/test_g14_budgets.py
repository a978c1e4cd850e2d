"""G14: a run gone wrong stops, while it runs and at its end; a labelled utterance of test never goes silently."""

import itertools
import json
import logging
import re
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from engine_here import Here
from hypothesis import given, settings
from hypothesis import strategies as st
from task_factory import around, batches_of, checkpoint_task, logs_of, reduced, state_of, task_of

from mm_fairseq import cli
from mm_fairseq.databin import DataBin, Place, dropped
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.preprocessing import budget as module
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.budget import Budget
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.preprocessing.prepared import Prepared
from mm_fairseq.preprocessing.quarantine import Problem
from mm_fairseq.preprocessing.share import Share
from mm_fairseq.report import runs
from mm_fairseq.targets import Target, write_targets
from mm_fairseq.toy.clips import write_clip

SMALL = Settings(modalities=("audio", "text"), tokenizer="chars", shard_size=4)


def corpus_of(rows, label=lambda row: "", split=lambda row: "", kind="single", classes=("sad", "glad", "calm")):
    utterances = [Utterance(f"u{row}", split(row), labels={"emotion": label(row)}) for row in range(rows)]
    splits = {}
    for row in range(rows):
        if split(row):
            splits.setdefault(("official", "1", split(row)), []).append(row)
    targets = [Target("emotion", kind, classes)]
    return Prepared(Manifest(Path("."), ["emotion"], utterances), targets, [], splits, {})


def bad(row, code="unreadable"):
    return Problem(f"u{row}", f"{row}.wav", "audio", code, "cannot be read")


@cache
def many():
    """A corpus of which 200 may be bad."""
    return corpus_of(200_000)


def stops(corpus, rows, size=0, order=None):
    """What the budget says to these bad rows, all at once or shard by shard; "" where it goes on."""
    total, budget = len(corpus.manifest), Budget(corpus)
    size = size or total
    parts = [range(first, min(total, first + size)) for first in range(0, total, size)]
    try:
        for part in parts if order is None else order(parts):
            budget.add(part, [bad(row) for row in rows if row in part])
    except MMFairseqError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("total", "allowed"), [(11, 10), (1000, 10), (10_000, 10), (11_000, 11), (50_000, 50), (50_999, 50)]
)
def test_of_all(total, allowed):
    corpus, rows = corpus_of(total), range(0, total, max(1, total // 60))
    assert stops(corpus, rows[:allowed]) == ""
    told = stops(corpus, rows[: allowed + 1])
    assert told.startswith(f"{allowed + 1} of {total} utterances cannot be used as the manifest says, more than ")
    assert f": {allowed + 1} unreadable, as u0: audio: cannot be read. Mend that" in told
    assert told.endswith("with --resume --no-budget")


@pytest.mark.parametrize("of", ["class", "split"])
def test_of_a_class_or_a_split(of):
    """900 of 100,000 are of the small group: more than 9 of them are too much, and far from 0.1 % of all."""
    small = {row * 100 for row in range(900)}
    name = {"class": "emotion=sad", "split": "official/1/test"}[of]
    corpus = corpus_of(
        100_000,
        (lambda row: "sad" if row in small else "glad") if of == "class" else lambda row: "",
        (lambda row: "test" if row in small else "train") if of == "split" else lambda row: "",
    )
    rows = sorted(small)
    assert stops(corpus, rows[:9]) == ""
    assert stops(corpus, rows[:10]).startswith(f"10 of the 900 utterances of {name} cannot be used as the manifest")


def test_few_of_a_small_class_are_no_matter():
    corpus = corpus_of(300, lambda row: "sad" if row < 8 else "glad")
    assert stops(corpus, range(5)) == ""
    assert "6 of the 8 utterances of emotion=sad" in stops(corpus, range(6))


def test_reasons_are_those_of_the_class_that_is_meant():
    budget = Budget(corpus_of(300, lambda row: "sad" if row < 8 else "glad"))
    budget.add(range(8, 300), [bad(row, "cut_short") for row in range(20, 22)])
    both = [replace(bad(row), stage=stage) for row in range(6) for stage in ("audio", "video")]
    with pytest.raises(MMFairseqError, match=r"of the 8 utterances of emotion=sad .*: 6 unreadable, as u0: audio: "):
        budget.add(range(8), both)


def test_labels_of_a_set_count_for_each_class():
    corpus = corpus_of(300, lambda row: "sad|calm" if row < 100 else "glad", kind="multilabel")
    assert "6 of the 100 utterances of emotion=sad" in stops(corpus, range(0, 60, 10))


@pytest.mark.parametrize("size", [0, 7, 64])
@pytest.mark.parametrize("start", [0, 63, 200_000 - 101])
def test_in_a_row(size, start):
    """In 200,000 utterances 200 may be bad, but not 101 of them side by side."""
    corpus, total = many(), 200_000
    window = range(max(0, start - 300), min(total, start + 500))

    def near(parts):
        return [part for part in parts if part.stop > window.start and part.start < window.stop]

    assert stops(corpus, range(start, start + 100), size, near) == ""
    assert stops(corpus, range(start, start + 101), size, lambda parts: near(parts)[::-1]).startswith(
        f"101 utterances in a row cannot be used as the manifest says, from 'u{start}' on"
    )


def test_what_was_never_there_is_not_bad():
    corpus = corpus_of(40)
    for code in ("no_face", "empty_audio", "empty_transcript", "empty_video"):
        Budget(corpus).add(range(40), [bad(row, code) for row in range(40)])
    with pytest.raises(MMFairseqError, match=r"40 of 40 .*40 empty"):  # a file with nothing in it
        Budget(corpus).add(range(40), [bad(row, "empty") for row in range(40)])


def test_films_without_sound_are_not_bad_where_no_sound_is_promised(tmp_path):
    """Half of the films have sound, so that there is a stream of it; no row names a recording of sound."""
    raw, out = tmp_path / "raw", tmp_path / "prepared"
    raw.mkdir()
    out.mkdir()
    sound, pictures = np.arange(8000, dtype=np.int16), [np.full((16, 16, 3), 90, np.uint8)] * 5
    for row in range(24):
        write_clip(raw / f"u{row}.mp4", pictures, None if row % 2 else sound, 10, 16000)
    rows = [Utterance(f"u{row}", "train", video=f"u{row}.mp4", labels={"emotion": "glad"}) for row in range(24)]
    write_targets(out / "targets.json", [Target("emotion", "single", ("sad", "glad"))])
    Manifest(raw, ["emotion"], rows).write(out / "manifest.tsv")
    some = Settings(modalities=("audio", "video"), frame_size=16, faces="none", shard_size=4)
    binarize(out, tmp_path / "bin", some)
    lines = [json.loads(line) for line in (tmp_path / "bin/quarantine.jsonl").read_text().splitlines()]
    assert {(line["id"], line["stage"], line["code"]) for line in lines} == {
        (f"u{row}", "audio", "no_audio_track") for row in range(1, 24, 2)
    }
    Manifest(raw, ["emotion"], [replace(row, audio=row.video) for row in rows]).write(out / "manifest.tsv")
    with pytest.raises(MMFairseqError, match=r"utterances of emotion=glad cannot .* no_audio_track"):
        binarize(out, tmp_path / "promised", some)


def test_an_utterance_counts_once():
    budget = Budget(corpus_of(40))
    both = [replace(bad(row), stage=stage) for row in range(10) for stage in ("audio", "video")]
    budget.add(range(40), both)
    budget.add(range(40), both)
    assert budget.bad.sum() == 10


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.integers(1, 400),
    st.integers(1, 50),
    st.randoms(use_true_random=False),
    st.floats(0, 0.15),
)
def test_it_is_the_same_shard_by_shard_in_any_order(total, size, rng, share):
    """Against what the rules say of all rows at once, in plain words."""
    rows = {row for row in range(total) if rng.random() < share}
    corpus = corpus_of(
        total, lambda row: ("sad", "glad", "calm", "")[row * 7 % 4], lambda row: ("train", "test")[row % 2]
    )
    groups = [[row for row in range(total) if row * 7 % 4 == each] for each in range(3)]
    groups += [list(range(each, total, 2)) for each in range(2)]
    runs = [len(list(run)) for is_bad, run in itertools.groupby(row in rows for row in range(total)) if is_bad]
    too_many = len(rows) > max(10, 0.001 * total) or max(runs, default=0) > 100
    too_many |= any(len(rows & set(group)) > max(5, 0.01 * len(group)) for group in groups)
    for each in (0, size):
        assert bool(stops(corpus, rows, each, lambda parts: rng.sample(parts, len(parts)))) == too_many


# The command


def write(folder, rows, broken, split=lambda row: ("train", "valid", "test")[row % 3], text=""):
    raw, out = folder / "raw", folder / "prepared"
    raw.mkdir()
    out.mkdir()
    for row in range(rows):
        soundfile.write(raw / f"u{row}.wav", np.full(500, row, np.int16), 16000)
        if row in broken:
            (raw / f"u{row}.wav").write_bytes(b"RIFF")
    made = [
        Utterance(f"u{row}", split(row), audio=f"u{row}.wav", text=text, labels={"emotion": "glad"})
        for row in range(rows)
    ]
    Manifest(raw, ["emotion"], made).write(out / "manifest.tsv")
    write_targets(out / "targets.json", [Target("emotion", "single", ("sad", "glad"))])
    return out


@pytest.mark.parametrize("workers", [1, 2])
def test_the_run_stops_before_its_end_and_can_be_seen_through(tmp_path, workers, capsys):
    prepared, out = write(tmp_path, 60, range(24)), tmp_path / "bin"
    base = ["binarize", str(prepared), str(out), "--workers", str(workers), "--tokenizer", "chars", "--shard-size", "4"]
    assert cli.main(base) == 2
    told = capsys.readouterr().err
    assert re.search(r"more than 5: \d+ unreadable, as u\d+: audio: ", told)
    assert str(out / "quarantine.jsonl") in told
    lines = [json.loads(line) for line in (out / "quarantine.jsonl").read_text().splitlines()]
    assert f"The {len(lines)} problems until then" in told
    assert len(lines) >= 6
    assert {(line["verdict"], line["code"]) for line in lines} == {("quarantined", "unreadable")}
    made = len(list((out / "audio").glob("shard-*.json")))
    assert 2 <= made < 15
    with pytest.raises(MMFairseqError, match="not finished"):
        _ = DataBin(out).meta
    assert cli.main([*base, "--resume"]) == 2
    assert ": audio: " in capsys.readouterr().err
    assert cli.main([*base, "--resume", "--no-budget"]) == 0
    assert "60 utterances: 36 ok, 0 repaired, 24 quarantined" in capsys.readouterr().out
    assert cli.main(["binarize", str(prepared), str(tmp_path / "whole"), *base[3:], "--no-budget"]) == 0
    for path in sorted(out.rglob("shard-*")):
        assert path.read_bytes() == (tmp_path / "whole" / path.relative_to(out)).read_bytes()


def test_ranks_that_are_each_within_the_budget_stop_together_at_the_end(tmp_path):
    prepared, out = write(tmp_path, 48, range(12), lambda row: ""), tmp_path / "bin"
    rows = Manifest.read(prepared / "manifest.tsv")
    rows.utterances = [replace(row, labels={"emotion": ""}) for row in rows.utterances]
    rows.write(prepared / "manifest.tsv")
    binarize(prepared, out, SMALL, share=Share(2, 0))
    with pytest.raises(
        MMFairseqError, match=r"12 of 48 utterances .*more than 10: .*All of them stand in .*quarantine"
    ):
        binarize(prepared, out, SMALL, share=Share(2, 1))
    assert len((out / "quarantine.jsonl").read_text().splitlines()) == 12


def test_jobs_that_are_each_within_the_budget_are_ended_as_soon_as_they_are_not_together(tmp_path):
    """Four jobs with three bad utterances each, one after the other; five are allowed of one class."""
    prepared = write(tmp_path, 48, [row for row in range(48) if row % 12 in (0, 4, 8)], lambda row: "")
    engine = Here(4)
    with pytest.raises(MMFairseqError, match=r"^6 of the 48 utterances of emotion=glad .*more than 5: "):
        binarize(prepared, tmp_path / "bin", replace(SMALL, shard_size=12), engine=engine)
    assert engine.stopped
    assert len(engine.shares) == 2


def test_labelled_utterances_of_test_are_named(tmp_path):
    prepared = write(tmp_path, 30, {2, 5, 6})
    summary = binarize(prepared, tmp_path / "bin", replace(SMALL, modalities=("audio",)))
    (line,) = [line for line in summary if line.startswith("warning")]
    assert line == (
        "warning: official/1/test: nothing is left of 2 labelled utterances, so that results are without them: u2, u5"
    )
    data_bin = DataBin(tmp_path / "bin")
    assert dropped(data_bin, Place("official", "1"), "test") == ["u2", "u5"]
    assert dropped(data_bin, Place("official", "1"), "train") == ["u6"]
    assert dropped(data_bin, Place("official", "1"), "valid") == []
    for line in (tmp_path / "bin/quarantine.jsonl").read_text().splitlines():
        assert json.loads(line)["verdict"] == "quarantined"


def test_they_are_named_where_results_are_told(data_bin, tmp_path, caplog):
    folder = shutil.copytree(data_bin, tmp_path / "bin")
    lost = {"id": "gone", "verdict": "quarantined", "labelled_in": ["official/1/test"]}
    (folder / "quarantine.jsonl").write_text(json.dumps(lost) + "\n")
    task = checkpoint_task(folder, state_of(task_of(folder)), around(tmp_path / "checkpoint_best.pt"))
    task.load_dataset("test")
    with caplog.at_level(logging.WARNING):
        reduced(task, [logs_of(task, batches_of(task.datasets["test"], 4))])
    assert "test: 1 labelled utterances are not in the data-bin" in caplog.text
    assert json.loads((tmp_path / "test/results.json").read_text())["dropped"] == ["gone"]
    assert runs.lost(runs.read(tmp_path)) == [
        "test is without 1 labelled utterances, of which nothing could be used: gone."
    ]


def test_the_limits_are_those_of_the_help():
    assert (module.ALL, module.GROUP, module.IN_A_ROW) == ((10, 0.001), (5, 0.01), 100)
