import hashlib
import re
from collections import Counter

import av
import numpy as np
import pytest
import soundfile

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.toy import cues, iemocap

LINE = re.compile(r"^\[(\d+\.\d{4}) - (\d+\.\d{4})\]\t(\S+)\t([a-z]{3})\t\[\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\]$", re.M)
COUNT = 47


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("toy") / "IEMOCAP"
    iemocap.write(out, COUNT, seed=3)
    return out


def _labels(corpus):
    """Utterance id to label and times, over all sessions."""
    found = {}
    for path in corpus.glob("Session?/dialog/EmoEvaluation/Ses*.txt"):
        for start, end, name, label in LINE.findall(path.read_text("latin-1")):
            assert name.startswith(path.stem)
            found[name] = (label, float(start), float(end))
    return found


def _hashes(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        iemocap.write(tmp_path / name, 20, seed)
    first, second, third = (_hashes(tmp_path / name) for name in "abc")
    assert first == second
    assert first != third
    assert any(path.endswith(".avi") for path in first)


def test_the_tree_is_the_release(corpus):
    assert sorted(path.name for path in corpus.iterdir()) == [f"Session{i}" for i in range(1, 6)]
    labels = _labels(corpus)
    assert len(labels) == COUNT
    wavs = {path.stem: path for path in corpus.glob("Session?/sentences/wav/*/*.wav")}
    assert set(wavs) == set(labels)
    for name, path in wavs.items():
        dialogue = name.rsplit("_", 1)[0]
        folder = corpus / f"Session{int(name[3:5])}" / "dialog"
        assert path.parent.name == dialogue
        assert (folder / "avi/DivX" / f"{dialogue}.avi").is_file()
        assert (folder / "transcriptions" / f"{dialogue}.txt").is_file()
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
        assert info.duration == pytest.approx(labels[name][2] - labels[name][1], abs=1e-3)
        assert 1.2 <= info.duration <= 2.0001
    dialogues = {name.rsplit("_", 1)[0] for name in labels}
    assert {"impro" in name for name in dialogues} == {True, False}
    assert {name[:6] for name in dialogues} == {f"Ses0{i}{letter}" for i in range(1, 6) for letter in "FM"}
    assert {name[:5] + name[-4] for name in labels} == {f"Ses0{i}{letter}" for i in range(1, 6) for letter in "FM"}


def test_four_classes_are_balanced_and_others_occur(corpus):
    counts = Counter(label for label, _, _ in _labels(corpus).values())
    assert set(counts) <= {*cues.CLASSES, "exc", *iemocap.OTHER_LABELS}
    counts["hap"] += counts.pop("exc")
    main = [counts[label] for label in cues.CLASSES]
    assert max(main) - min(main) <= 2
    assert sum(counts.values()) - sum(main) == 5


def test_raters_lines_and_the_folders_to_ignore(corpus):
    path = corpus / "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
    text = path.read_bytes().decode("latin-1")
    assert text.startswith("% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n\n[")
    assert "blas\xe9" in text
    blocks = text.strip().split("\n\n")[1:]
    rater = r"C-E\d:\t[\w; ]+;\t\(.*\)"
    scores = r"A-(E\d|[FM]1):\tval \d; act \d; dom +\d?;\t\(\)"
    for block in blocks:
        head, *lines = block.split("\n")
        assert LINE.match(head)
        assert [bool(re.fullmatch(rater, line)) for line in lines] == [True] * 3 + [False] * 4
        assert re.fullmatch(r"C-[FM]1:\t[\w ]+;\t\(\)", lines[3])
        assert all(re.fullmatch(scores, line) for line in lines[4:])
    for folder in ("Attribute", "Categorical", "Self-evaluation"):
        assert list((path.parent / folder).glob("Ses01F_impro01_*.txt"))
    assert (path.parent / f"._{path.name}").is_file()


def test_evaluators_disagree_now_and_then_but_most_name_the_label(corpus):
    seen = Counter()
    for path in corpus.glob("Session?/dialog/EmoEvaluation/Ses*.txt"):
        for block in path.read_text("latin-1").split("\n[")[1:]:
            label = block.split("\t")[2]
            ballots = [set(said.split("; ")) for said in re.findall(r"^C-E\d:\t(.*);\t", block, re.M)]
            assert len(ballots) == 3
            times = Counter(name for ballot in ballots for name in ballot)
            if label == "xxx":
                assert set(times.values()) == {1}
            else:
                assert times[iemocap._NAMES[label]] >= 2
                assert max(times.values()) == times[iemocap._NAMES[label]] > sorted([0, *times.values()])[-2]
                seen[len(times), max(map(len, ballots))] += 1
    assert {each for each, count in seen.items() if count > 4} == {(1, 1), (2, 1), (2, 2)}


def test_the_dimensions_are_the_means_of_the_evaluators_and_tell_the_class(corpus, tmp_path):
    from mm_fairseq.cli import main

    assert main(["prepare", "iemocap", str(corpus), str(tmp_path / "out"), "--vad", "--accept-counts"]) == 0
    header, *rows = (line.split("\t") for line in (tmp_path / "out/manifest.tsv").read_text().splitlines()[1:])
    found = {row["id"]: row for row in (dict(zip(header, row, strict=True)) for row in rows)}
    assert len(found) == COUNT
    for path in corpus.glob("Session?/dialog/EmoEvaluation/Ses*.txt"):
        for block in path.read_text("latin-1").split("\n[")[1:]:
            row = found[block.split("\t")[1]]
            raters = re.findall(r"^A-E\d:\tval (\d); act (\d); dom +(\d);", block, re.M)
            means = np.array(raters, float).mean(0)
            assert [float(row[name]) for name in ("valence", "activation", "dominance")] == means.tolist()
    means = {
        label: np.mean([float(row["valence"]) for row in found.values() if row["emotion"] == label])
        for label in ("hap", "neu", "ang")
    }
    assert means["hap"] > means["neu"] > means["ang"]


def test_transcripts_have_every_utterance_and_the_odd_lines(corpus):
    labels = _labels(corpus)
    said, odd = {}, []
    for path in corpus.glob("Session?/dialog/transcriptions/*.txt"):
        for line in path.read_text().splitlines():
            match = re.fullmatch(r"(Ses\S+) \[(\d{3}\.\d{4})-(\d{3}\.\d{4})\]: (\S.*)", line)
            if match and match[1] in labels:
                said[match[1]] = match[4]
                assert (float(match[2]), float(match[3])) == labels[match[1]][1:]
            else:
                odd.append(line)
    assert set(said) == set(labels)
    assert any(re.fullmatch(r"[FM]: \w+\.", line) for line in odd)
    assert any(re.match(r"Ses\d\d[FM]_\w+_[FM]XX\d \[", line) for line in odd)


def test_the_film_has_sound_and_the_speaker_in_the_right_half(corpus):
    labels = _labels(corpus)
    path = corpus / "Session2/dialog/avi/DivX/Ses02F_impro01.avi"
    with av.open(str(path)) as film:
        assert film.streams.video[0].codec_context.name == "mpeg4"
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in film.decode(video=0)]
    with av.open(str(path)) as film:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
    assert frames[0][1].shape == (480, 720, 3)
    assert len(sound) == 1600 * len(frames)

    turns = {name: times for name, (_, *times) in labels.items() if name.startswith("Ses02F_impro01")}
    moved = []
    for name, (start, end) in turns.items():
        wav, _ = soundfile.read(corpus / "Session2/sentences/wav/Ses02F_impro01" / f"{name}.wav", dtype="int16")
        first = round(start * 16_000)
        assert np.array_equal(sound[first : first + len(wav)], wav)
        shown = np.stack([frame[280:345] for time, frame in frames if start <= time < end])
        left, right = (np.std((shown[:, :, x + 130 : x + 230].max(-1) < 100).sum((1, 2))) for x in (0, 360))
        moved.append((left > 2 * right) == (name[-4] == "F"))
    assert all(moved)


def test_too_few_utterances_a_bad_seed_and_a_taken_folder_are_refused(tmp_path):
    with pytest.raises(MMFairseqError, match=r"--utterances 19.*at least 20"):
        iemocap.write(tmp_path / "a", 19, 0)
    with pytest.raises(MMFairseqError, match="--seed -1"):
        iemocap.write(tmp_path / "a", 20, -1)
    (tmp_path / "Session1").mkdir()
    with pytest.raises(MMFairseqError, match="holds Session folders already"):
        iemocap.write(tmp_path, 20, 0)
