"""Small CMU-MOSI and CMU-MOSEI folders: a short mp4 and wav, copied wherever a recording belongs, and label files."""

import json
import shutil
import wave
from pathlib import Path

import h5py
import numpy as np

from mm_fairseq.toy.clips import write_clip

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 82026\n"
EMOTIONS = ("happy", "sad", "anger", "surprise", "disgust", "fear")


def write_media(folder):
    """`both.mp4`, `still.mp4` without sound, `dark.mp4` without pictures, `sound.wav`."""
    frames, sound = [np.full((32, 32, 3), value, np.uint8) for value in (0, 90, 180)], np.zeros(2400, np.int16)
    write_clip(folder / "both.mp4", frames, sound, 20, 16_000)
    write_clip(folder / "still.mp4", frames, None, 20, 16_000)
    write_clip(folder / "dark.mp4", None, sound, 20, 16_000)
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(sound.tobytes())
    return folder


def put(source: Path, target: Path):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def text(path: Path, content: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def write_csd(file, sequence, videos, names=None, dtype=np.float32):
    """A computational sequence: {video: (rows of values, rows of start and end)}; `names` are its dimensions."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as content:
        data = content.create_group(f"{sequence}/data")
        for video, (values, intervals) in videos.items():
            data[f"{video}/features"] = np.array(values, dtype)
            data[f"{video}/intervals"] = np.array(intervals, dtype)
        if names:
            told = content.create_dataset(f"{sequence}/metadata/dimension names", (1,), dtype=h5py.string_dtype())
            told[0] = json.dumps(names)


def mosi(root, media):
    """Three videos, one of each standard fold; segment 3 of the first has no label."""
    labels = {
        "03bSnISJMiM": ([[2.4], [-0.8]], [[0.5, 2.0], [2.0, 4.25]]),
        "X3j2zQgwYgE": ([[0.0]], [[0.0, 3.0]]),
        "d3_k5Xpfmik": ([[-3.0]], [[1.0, 2.0]]),
    }
    write_csd(root / "labels/CMU_MOSI_Opinion_Labels.csd", "Opinion Segment Labels", labels)
    for video, (rows, _) in labels.items():
        count = len(rows) + (video == "03bSnISJMiM")
        lines = [f"{number}_DELIM_SEGMENT {number} OF {video}\n" for number in range(1, count + 1)]
        text(root / f"Transcript/Segmented/{video}.annotprocessed", "".join(lines))
        for number in range(1, count + 1):
            put(media / "both.mp4", root / f"Video/Segmented/{video}_{number}.mp4")
    return root


def mosei(root, media):
    """Four videos, one in no fold; one name ends in underscores, one begins with a minus sign, one is a number."""
    none = [0.0] * 6
    labels = {
        "-3g5yACwYn_": ([[1.0, 0.6666667, *none[1:]], [-2.3333333, 0, 1, 2, 0, 0, 0]], [[0.25, 2.0], [2.0, 4.5]]),
        "81406": ([[0, *none]], [[1.5, 3.25]]),
        "_0efYOjQ___": ([[3.0, 3, 0, 0, 0.3333333, 0, 0]], [[0, 2]]),
        "nobodyknows": ([[1.0, *none]], [[0, 2]]),
    }
    write_csd(root / "CMU_MOSEI_Labels.csd", "All Labels", labels, ["sentiment", *EMOTIONS])
    folder = root / "Raw/Transcript/Segmented/Combined"
    text(
        folder / "-3g5yACwYn_.txt",
        "-3g5yACwYn____0___0.25___2.0___I, ___um___ like it.\n-3g5yACwYn____7___2.0___4.5___No.\n"
        "-3g5yACwYn____9___4.5___6.0___Nobody rated this.\n",
    )
    text(folder / "81406.txt", "81406___2___1.5___3.25___\u201cFine\u201d\n")
    text(folder / "_0efYOjQ___.txt", "_0efYOjQ______0___0___2___Great\n")
    text(folder / "nobodyknows.txt", "nobodyknows___0___0___2___Gone\n")
    for video in labels:
        put(media / "both.mp4", root / f"Raw/Videos/Full/Combined/{video}.mp4")
    folds = {"train": ["-3g5yACwYn_", "unheardofxx"], "valid": ["81406"], "test": ["_0efYOjQ___"]}
    lines = [f"standard_{split}_fold={videos}\n" for split, videos in folds.items()]
    text(root / "cmu_mosei_std_folds.py", "import os\nos.abort()\n" + "".join(lines))
    return root


MMSA_HEADER = "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode"
MMSA_ROWS = (
    '03bSnISJMiM,1,"ANYHOW, IT WAS GOOD",2.4000000954,,,,Positive,train',
    "03bSnISJMiM,11,THEY SAID,-0.8,,,,Negative,train",
    "-3g5yACwYnA,0001,NO,0,,,,Neutral,valid",
    "007,007$_$00,x,-3,,,,Negative,test",
)


def mmsa(root, media, rows=MMSA_ROWS, header=MMSA_HEADER):
    """`label.csv` and a recording for each of its rows."""
    text(root / "label.csv", "\n".join([header, *rows]) + "\n")
    for row in rows:
        video, clip = row.split(",")[:2]
        put(media / "both.mp4", root / "Raw" / video / f"{clip.rpartition('$')[2]}.mp4")
    return root
