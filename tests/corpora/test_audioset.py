"""A miniature AudioSet: clips of a few frames, copied to where they are needed."""

import json
import shutil

import numpy as np
import pytest

from mm_fairseq.corpora import writing
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest
from mm_fairseq.targets import kind_of, read_targets
from mm_fairseq.toy.clips import write_clip

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 82026\n"
BETWEEN = "Output_clip_len_0.25_audio_101"
NAMES = {"/m/0bt9lr": "Dog", "/m/07q2z82": "Accelerating, revving, vroom", "/m/04rlf": "Music"}
DOG, CAR, MUSIC = NAMES.values()
HEAD = "# Segments csv\n# num_ytids=1\n# YTID, start_seconds, end_seconds, positive_labels\n"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """An mp4 with both tracks, without sound, without picture."""
    folder = tmp_path_factory.mktemp("clips")
    frames, sound = [np.full((32, 32, 3), value, np.uint8) for value in (0, 90, 180)], np.zeros(2400, np.int16)
    write_clip(folder / "both.mp4", frames, sound, 20, 16_000)
    write_clip(folder / "silent.mp4", frames, None, 20, 16_000)
    write_clip(folder / "dark.mp4", None, sound, 20, 16_000)
    return folder


@pytest.fixture
def audioset(tmp_path, clips):
    """16 clips of two classes in train, 4 in eval; of train, row 3 has both events and row 16 no clip."""
    root = tmp_path / "AudioSet"
    mids = list(NAMES)
    for part, count in (("train", 16), ("eval", 4)):
        lines = [HEAD]
        for number in range(count + (part == "train")):
            events = [mids[number % 2]] + ([mids[1 - number % 2]] if (part, number) == ("train", 3) else [])
            labels = ",".join(events)
            lines.append(f'{part:_<6}{number:_>5}, {10 * number}.000, {10 * number + 10}.000, "{labels}"\n')
            for mid in events if number < count else []:
                file = (
                    root
                    / part
                    / BETWEEN
                    / NAMES[mid]
                    / f"video_{number}_start_{10 * number}_end_{10 * number + 10}.mp4"
                )
                file.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(clips / "both.mp4", file)
        name = {"train": "balanced_train_segments.csv", "eval": "eval_segments.csv"}[part]
        (root / name).write_text("".join(lines))
    (root / "ontology.json").write_text(json.dumps([{"id": mid, "name": name} for mid, name in NAMES.items()]))
    return root


def rows(prepared):
    return {row.id: row for row in prepared.manifest.utterances}


def test_class_folders(audioset, parse):
    prepared = parse("audioset", audioset)
    row = rows(prepared)["train_video_5_start_50_end_60"]
    path = f"train/{BETWEEN}/{CAR}/video_5_start_50_end_60.mp4"
    assert (row.audio, row.video, row.text, row.dialogue) == (path, path, "", "train_video_5")
    assert row.labels == {"event": CAR}
    [target] = prepared.targets
    assert (target.name, target.kind, target.classes) == ("event", "single", (CAR, DOG))
    fold = prepared.protocols["official"]["1"]
    assert [len(fold[split]) for split in ("train", "valid", "test")] == [13, 2, 4]
    assert all(name.startswith("eval_") == (split == "test") for split, ids in fold.items() for name in ids)
    assert {rows(prepared)[name].labels["event"] for name in fold["valid"]} == {CAR, DOG}
    assert prepared.excluded == {"several class folders": 1}
    assert prepared.notes == [
        "left out, 1 clips that lie in several class folders, so have several events (--multilabel takes them): "
        "train_video_3_start_30_end_40"
    ]
    assert prepared.seen == {"clips": 19, "videos": 19, "classes": 2}


def test_several_events_by_the_segments(audioset, parse):
    prepared = parse("audioset", audioset, "--multilabel")
    found = rows(prepared)
    assert len(found) == 20
    row = found["train_video_3_start_30_end_40"]
    assert row.labels == {"events": f"{CAR}|{DOG}"}
    assert (row.dialogue, row.start, row.end) == ("train_____3", None, None)
    assert (prepared.targets[0].name, prepared.targets[0].kind) == ("events", "multilabel")
    kind = kind_of(prepared.targets[0])
    for row in found.values():
        kind.check(row.labels["events"], "")
    assert prepared.excluded == {"missing clips of balanced_train_segments.csv": 1}
    assert prepared.notes == [
        "missing: 1 of 17 rows of balanced_train_segments.csv have no clip: train____16 (line 20)"
    ]


def test_without_an_ontology_the_mids(audioset, parse):
    (audioset / "ontology.json").unlink()
    prepared = parse("audioset", audioset, "--multilabel")
    assert prepared.targets[0].classes == ("/m/07q2z82", "/m/0bt9lr")
    assert prepared.notes[0] == "no ontology.json: the events are mids, not names"


def test_without_a_table_several_events_are_the_class_folders(audioset, parse):
    for file in audioset.glob("*.csv"):
        file.unlink()
    prepared = parse("audioset", audioset, "--multilabel")
    assert rows(prepared)["train_video_3_start_30_end_40"].labels == {"events": f"{CAR}|{DOG}"}
    assert len(prepared.manifest) == 20


def test_the_split_is_the_same_for_any_order_and_any_part(audioset, parse):
    fold = parse("audioset", audioset).protocols["official"]["1"]
    again = parse("audioset", audioset).protocols["official"]["1"]
    assert fold == again


def test_one_folder_or_none(audioset, parse, tmp_path):
    shutil.rmtree(audioset / "eval")
    for root in (audioset, audioset / "train", audioset / "train" / BETWEEN):
        prepared = parse("audioset", root)
        fold = prepared.protocols["official"]["1"]
        assert [len(fold[split]) for split in ("train", "valid", "test")] == [10, 2, 3]
        assert "one folder: train, valid and test are drawn from it, 0.7, 0.1 and 0.2" in prepared.notes
    assert rows(prepared)["video_5_start_50_end_60"].dialogue == "video_5"


def test_clips_of_one_video_stay_together(tmp_path, clips, parse):
    for number in range(24):
        file = tmp_path / (DOG if number < 12 else CAR) / f"abcdefghi{number // 12}{number % 12 // 3}_{number}.mp4"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clips / "both.mp4", file)
    prepared = parse("audioset", tmp_path)
    videos = [{rows(prepared)[name].dialogue for name in ids} for ids in prepared.protocols["official"]["1"].values()]
    assert sum(map(len, videos)) == len(set.union(*videos)) == 8
    assert all(videos)


def test_files_named_by_the_video(audioset, parse, clips):
    for file in audioset.rglob("*.mp4"):
        file.unlink()
    (audioset / "clips").mkdir()
    for name in ("train_____0", "train_____1_10", "train_____2_20000_30000", "eval______0", "eval______1_000010"):
        shutil.copyfile(clips / "both.mp4", audioset / "clips" / f"{name}.mp4")
    shutil.rmtree(audioset / "train"), shutil.rmtree(audioset / "eval")
    prepared = parse("audioset", audioset, "--multilabel")
    assert [row.labels["events"] for row in prepared.manifest.utterances] == [DOG, CAR, DOG, CAR, DOG]
    assert prepared.protocols["official"]["1"]["test"] == ["eval_eval______0", "eval_eval______1_000010"]
    whole = rows(parse("audioset", audioset, "--multilabel", "--whole-videos"))
    assert (whole["train_train_____0_0_10"].start, whole["train_train_____0_0_10"].end) == (None, 10)
    assert (whole["train_train_____1_10"].start, whole["train_train_____1_10"].end) == (None, None)


def test_two_segments_of_one_video(audioset, parse):
    table = audioset / "eval_segments.csv"
    table.write_text(table.read_text() + 'eval______1, 50.000, 55.500, "/m/0bt9lr"\n')
    file = next((audioset / "eval").rglob("video_1_*.mp4"))
    file.rename(file.with_name("eval______1.mp4"))
    with pytest.raises(
        MMFairseqError, match=r"eval______1.mp4: the clip of two rows, .*--whole-videos where it is the"
    ):
        parse("audioset", audioset, "--multilabel")
    found = rows(parse("audioset", audioset, "--multilabel", "--whole-videos"))
    spans = {name: (row.start, row.end, row.labels["events"]) for name, row in found.items() if "______1" in name}
    assert spans == {"eval_eval______1_10_20": (10, 20, CAR), "eval_eval______1_50_55.5": (50, 55.5, DOG)}


def test_rows_without_any_clip(audioset, parse):
    for file in (audioset / "train").rglob("*.mp4"):
        file.rename(file.with_name(file.name.replace("_start_", "_start_9")))
    with pytest.raises(MMFairseqError, match=r"segments.csv: none of its 17 rows has a clip below .*files are named"):
        parse("audioset", audioset, "--multilabel")


def test_a_folder_without_its_segment_csv(audioset, parse):
    (audioset / "balanced_train_segments.csv").unlink()
    told = r"train: 17 clips without a segment csv, balanced_train_segments.csv"
    with pytest.raises(MMFairseqError, match=rf"{told}; --train-csv FILE names it, --accept-missing"):
        parse("audioset", audioset, "--multilabel")
    prepared = parse("audioset", audioset, "--multilabel", "--accept-missing")
    assert prepared.excluded == {"no segment csv": 17}
    assert len(prepared.manifest.utterances) == 4
    parse("audioset", audioset)


def test_a_clip_that_is_a_link_to_nowhere(audioset, parse):
    file = next((audioset / "train").rglob("*.mp4"))
    file.unlink()
    file.symlink_to("gone.mp4")
    with pytest.raises(MMFairseqError, match=rf"{file.name}: no such file: copy or fetch it"):
        parse("audioset", audioset)
    assert parse("audioset", audioset, "--accept-missing").excluded["nothing in the file"] == 1


def test_clips_in_no_row_are_told(audioset, parse, clips):
    shutil.copyfile(clips / "both.mp4", audioset / "train" / BETWEEN / DOG / "video_99_start_0_end_10.mp4")
    prepared = parse("audioset", audioset, "--multilabel")
    assert prepared.excluded["in no row of balanced_train_segments.csv"] == 1
    assert any(note.endswith("balanced_train_segments.csv: video_99_start_0_end_10.mp4") for note in prepared.notes)


def test_an_empty_class_folder(audioset, parse):
    (audioset / "train" / BETWEEN / MUSIC).mkdir()
    with pytest.raises(MMFairseqError, match=r"train/.*/Music: a class folder without any mp4 clip; remove it or put"):
        parse("audioset", audioset)
    prepared = parse("audioset", audioset, "--accept-missing")
    assert prepared.targets[0].classes == (CAR, DOG)
    assert prepared.notes[0] == f"accepted: train/{BETWEEN}/Music: a class folder without any mp4 clip"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("silent", "no sound in it: replace the clip"),
        ("dark", "no picture in it: replace the clip"),
        (b"\0\0\0\x08moov", "neither sound nor picture in it: replace the clip"),
        (b"", "0 bytes in it: copy or fetch it again"),
        (POINTER.encode(), "a git-lfs pointer, a text in place of the recording: `git lfs pull` fetches it"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--multilabel"]])
def test_a_clip_that_lacks_something(audioset, parse, clips, content, reason, options):
    name = "train_video_5_start_50_end_60"
    file = audioset / "train" / BETWEEN / CAR / f"{name[6:]}.mp4"
    file.write_bytes(content if isinstance(content, bytes) else (clips / f"{content}.mp4").read_bytes())
    with pytest.raises(MMFairseqError) as error:
        parse("audioset", audioset, *options)
    assert str(error.value) == f"{file}: {reason}; --accept-missing goes on with what there is"
    prepared = parse("audioset", audioset, "--accept-missing", *options)
    assert f"accepted: {file}: {reason}" in prepared.notes
    path = file.relative_to(audioset).as_posix()
    expected = {"silent": ("", path), "dark": (path, "")}
    if isinstance(content, bytes):
        assert name not in rows(prepared)
        assert prepared.excluded["nothing in the file"] == 1
    else:
        assert (rows(prepared)[name].audio, rows(prepared)[name].video) == expected[content]


def test_a_name_that_no_row_can_have(audioset, parse, clips):
    shutil.copyfile(clips / "both.mp4", audioset / "train" / BETWEEN / DOG / "woof.mp4")
    with pytest.raises(MMFairseqError, match=r"Dog/woof.mp4: not the name of a clip; clips are named <YTID>.mp4, "):
        parse("audioset", audioset, "--multilabel")


def test_a_class_folder_takes_any_name(audioset, parse, clips):
    folders = sorted(path for path in (audioset / "train" / BETWEEN).iterdir() if path.is_dir())[:2]
    for folder in folders:
        shutil.copyfile(clips / "both.mp4", folder / "take 1.mp4")
    prepared = parse("audioset", audioset)
    found = {name: row.labels["event"] for name, row in rows(prepared).items() if name.endswith("_take_1")}
    assert sorted(found.values()) == [folder.name for folder in folders]


def test_no_clip_of_any_use(audioset, parse):
    for file in audioset.rglob("*.mp4"):
        file.write_bytes(b"")
    with pytest.raises(MMFairseqError, match=r"none of its 19 clips can be used: .*0 bytes"):
        parse("audioset", audioset, "--accept-missing")


def test_other_files_are_passed_over(audioset, parse):
    (audioset / "train" / BETWEEN / DOG / "audio_2_start_20_end_30.wav").write_bytes(b"RIFF")
    (audioset / "train" / BETWEEN / DOG / "._video_2_start_20_end_30.mp4").write_bytes(b"\0")
    (audioset / "train" / BETWEEN / ".cache").mkdir()
    assert len(parse("audioset", audioset).manifest) == 19


def test_a_clip_outside_class_folders(audioset, parse, clips):
    shutil.copyfile(clips / "both.mp4", audioset / "train" / BETWEEN / "video_7_start_0_end_10.mp4")
    with pytest.raises(MMFairseqError, match=r"end_10.mp4: lies in no class folder; .*--multilabel"):
        parse("audioset", audioset)


def test_a_class_that_train_lacks(audioset, parse, clips):
    (audioset / "eval" / BETWEEN / MUSIC).mkdir()
    shutil.copyfile(clips / "both.mp4", audioset / "eval" / BETWEEN / MUSIC / "video_9_start_0_end_10.mp4")
    with pytest.raises(MMFairseqError, match=r"test: has clips of Music, train has none; put some there"):
        parse("audioset", audioset)
    assert parse("audioset", audioset, "--accept-missing").targets[0].classes == (CAR, DOG, MUSIC)


def test_options_that_do_not_count_are_errors(audioset, parse):
    with pytest.raises(MMFairseqError, match=r"--train-csv x.csv: counts with --multilabel only"):
        parse("audioset", audioset, "--train-csv", "x.csv")
    with pytest.raises(MMFairseqError, match=r"--ontology x.json: .*x.json: no such file"):
        parse("audioset", audioset, "--multilabel", "--ontology", "x.json")
    with pytest.raises(MMFairseqError, match=r"--whole-videos: needs --multilabel and a segment csv"):
        parse("audioset", audioset, "--whole-videos")


def test_wrong_folders(tmp_path, parse):
    with pytest.raises(MMFairseqError, match=r"nowhere: no such folder; RAW must be the folder with train and eval"):
        parse("audioset", tmp_path / "nowhere")
    with pytest.raises(MMFairseqError, match=r"no class folders with mp4 clips; RAW must be the folder with train"):
        parse("audioset", tmp_path)
    (tmp_path / "AudioWAV").mkdir()
    with pytest.raises(MMFairseqError, match=r"no class folders with mp4 clips; RAW must be the folder with train"):
        parse("audioset", tmp_path)
    for name in ("Output_clip_len_0.25_audio_101", "Output_clip_len_1.0_audio_10"):
        (tmp_path / "train" / name).mkdir(parents=True)
    with pytest.raises(MMFairseqError, match=r"train: has Output_clip_len_0.25_audio_101, .*; leave one of them there"):
        parse("audioset", tmp_path)


def test_the_prepared_folder(audioset, parse, tmp_path):
    prepared = parse("audioset", audioset, "--multilabel")
    account = writing.write("audioset", prepared, tmp_path / "out")
    assert account["targets"]["events"] == {CAR: 10, DOG: 11}
    assert account["modalities"] == {"audio": 20, "text": 0, "video": 20}
    assert account["excluded"] == {"missing clips of balanced_train_segments.csv": 1}
    assert Manifest.read(tmp_path / "out/manifest.tsv").utterances == prepared.manifest.utterances
    assert read_targets(tmp_path / "out/targets.json") == prepared.targets
