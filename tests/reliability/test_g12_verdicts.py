"""G12: every utterance ends in exactly one of ok, repaired, quarantined; quarantine.jsonl says why, of which bytes."""

import hashlib
import json
import random
from importlib.metadata import version

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mm_fairseq.databin import StreamReader
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.targets import Target, write_targets

KEYS = ["id", "path", "sha256", "stage", "verdict", "code", "error", "decoder", "labelled_in"]
SMALL = Settings(modalities=("audio", "text"), tokenizer="chars", shard_size=4)

GOOD, SILENT, SHORT, CUT, NOISE, EMPTY, GONE, FOLDER, NONE = range(9)
CODES = {
    SHORT: {"too_short"},
    CUT: {"truncated", "unreadable", "corrupt"},
    NOISE: {"unreadable", "corrupt", "no_audio_track"},
    EMPTY: {"empty"},
    GONE: {"missing_file"},
    FOLDER: {"not_regular"},
    NONE: {"empty_audio"},
}


def write(folder, sounds, texts, seed=0):
    """A prepared corpus with recordings as `sounds` says; the utterance r is in the r-th of three splits."""
    raw, out, rng = folder / "raw", folder / "prepared", random.Random(seed)
    raw.mkdir(parents=True)
    out.mkdir()
    rows = []
    for row, (sound, text) in enumerate(zip(sounds, texts, strict=True)):
        path = raw / f"u{row}.wav"
        samples = np.random.default_rng(row).integers(-3000, 3000, 3000).astype(np.int16)
        if sound in (GOOD, SILENT, SHORT, CUT):
            soundfile.write(path, {SILENT: samples * 0, SHORT: samples[:80]}.get(sound, samples), 16000)
        if sound == CUT:
            path.write_bytes(path.read_bytes()[: rng.randrange(40, 4000)])
        elif sound in (NOISE, EMPTY):
            path.write_bytes(rng.randbytes(500) if sound == NOISE else b"")
        elif sound == FOLDER:
            path.mkdir()
        rows.append(
            Utterance(
                f"u{row}",
                ("train", "valid", "test")[row % 3],
                audio="" if sound == NONE else path.name,
                text="some words" if text else "",
                labels={"emotion": ("sad", "glad", "")[row % 3 if row % 2 else 0]},
            )
        )
    Manifest(raw, ["emotion"], rows).write(out / "manifest.tsv")
    write_targets(out / "targets.json", [Target("emotion", "single", ("sad", "glad"))])
    return out, rows


def check(folder, sounds, texts):
    """What `binarize` says, against what is known of the recordings."""
    prepared, rows = write(folder, sounds, texts)
    summary = binarize(prepared, folder / "bin", SMALL, budget=False)
    lines = [json.loads(line) for line in (folder / "bin/quarantine.jsonl").read_text().splitlines()]
    assert all(list(line) == KEYS for line in lines)
    found = {(line["id"], line["stage"]): line for line in lines}
    assert len(found) == len(lines)
    audio = StreamReader(folder / "bin/audio", len(rows)).lengths > 0
    counts = {"ok": 0, "repaired": 0, "quarantined": 0}
    for number, (row, sound, text) in enumerate(zip(rows, sounds, texts, strict=True)):
        good = {"audio": sound in (GOOD, SILENT), "text": bool(text)}
        verdict = "ok" if all(good.values()) else "repaired" if any(good.values()) else "quarantined"
        counts[verdict] += 1
        assert audio[number] == good["audio"]
        assert {stage for name, stage in found if name == row.id} == {stage for stage in good if not good[stage]}
        for stage in good:
            if line := found.get((row.id, stage)):
                assert line["verdict"] == verdict
        if sound in CODES:
            line, path = found[row.id, "audio"], folder / "raw" / (row.audio or "-")
            assert line["code"] in CODES[sound]
            assert line["path"] == row.audio
            assert line["sha256"] == (hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None)
            assert (f"soundfile {version('soundfile')}" in line["decoder"]) == bool(row.audio)
            lost = verdict == "quarantined" and row.labels["emotion"]
            assert line["labelled_in"] == ([f"official/1/{row.split}"] if lost else [])
    assert sum(counts.values()) == len(rows)
    assert json.loads((folder / "bin/meta.json").read_text())["verdicts"] == counts
    assert f"{len(rows)} utterances: {counts['ok']} ok, {counts['repaired']} repaired" in "\n".join(summary)


kinds = st.tuples(st.sampled_from(range(9)), st.booleans())


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(kinds, min_size=1, max_size=14))
def test_every_utterance_has_one_verdict(tmp_path_factory, some):
    check_any(tmp_path_factory, some)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(kinds, min_size=1, max_size=40))
def test_every_utterance_has_one_verdict_in_many_corpora(tmp_path_factory, some):
    check_any(tmp_path_factory, some)


def check_any(tmp_path_factory, some):
    some = [(GOOD, True), *some]  # a stream of which nothing is usable is an error
    check(tmp_path_factory.mktemp("corpus"), *zip(*some, strict=True))


def test_the_verdicts_do_not_depend_on_who_makes_the_shards(tmp_path):
    sounds = [GOOD, CUT, NOISE, GONE, EMPTY, NONE, SHORT, GOOD] * 2
    prepared, _ = write(tmp_path, sounds, [True] * 16)
    for workers in (1, 2, 3):
        binarize(prepared, tmp_path / f"bin{workers}", SMALL, workers, budget=False)
    first, *others = [(tmp_path / f"bin{workers}/quarantine.jsonl").read_bytes() for workers in (1, 2, 3)]
    assert first
    assert others == [first, first]
