"""G11: media are opened as local files inside the corpus's folder, by a process within bounds; nothing else suffers."""

import json
import os
import random
import resource
import signal
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hostile_files import write_picture
from killing import FORK
from small_corpus import Corpus, tree

from mm_fairseq.cli import main
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.manifest import Manifest, Utterance
from mm_fairseq.media import MediaError, child
from mm_fairseq.media.audio import read_audio
from mm_fairseq.media.bounds import Limits
from mm_fairseq.media.child import Child
from mm_fairseq.media.video import read_frames
from mm_fairseq.preprocessing import items, job
from mm_fairseq.preprocessing.binarize import binarize
from mm_fairseq.preprocessing.items import Settings
from mm_fairseq.preprocessing.share import Share

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to bounds")
SMALL = Settings(shard_size=4, tokenizer="words")
HOSTILE = {"u01": "crashed", "u03": "timeout", "u05": "out_of_memory", "u08": "crashed"}


def hostile(path, *args):
    """Stands for a decoder that some files break, or make it run for ever or take all memory."""
    name = Path(path).stem
    if name == "u01":
        os.kill(os.getpid(), signal.SIGSEGV)
    if name == "u03":
        while True:
            pass
    if name == "u05":
        return np.ones(3 << 30, np.uint8)
    if name == "u08":
        os.abort()
    return read_audio(path, *args)


@pytest.fixture
def corpus(tmp_path):
    return Corpus(tmp_path, 12)


def problems(folder):
    return [json.loads(line) for line in (folder / "quarantine.jsonl").read_text().splitlines()]


def lives(pid):
    """Whether a process runs; one that is dead but not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children():
    """Of this process, whether they live or not."""
    own = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            own += [int(entry.name)] if parent == os.getpid() else []
    return set(own)


@pytest.mark.parametrize(("workers", "share"), [(1, Share()), (2, Share()), (1, Share(2, 1))])
def test_decoders_that_break(corpus, tmp_path, monkeypatch, workers, share):
    """Each is told with its reason; whatever the workers, the bytes are those of a corpus without these files."""
    before = children()
    monkeypatch.setitem(items.READERS, "sound", hostile)
    monkeypatch.setattr(job, "Limits", lambda memory=2 << 30: Limits(memory, 1.0))
    monkeypatch.setattr(child, "_PATIENCE", 1000)  # on the clock, by which a busy machine may be slow
    out = tmp_path / "bin"
    if share.ranks > 1:
        binarize(corpus.write(), out, SMALL, share=Share(2, 0), budget=False)
    binarize(corpus.write(), out, SMALL, workers, share=share, budget=False)
    assert {row["id"]: row["code"] for row in problems(out)} == HOSTILE
    assert all(row["verdict"] == "repaired" for row in problems(out))
    assert all(f"{row['id']}.wav" in row["error"] for row in problems(out))
    monkeypatch.undo()
    for name in HOSTILE:
        (corpus.raw / f"{name}.wav").write_bytes(b"no sound")
    binarize(corpus.out, tmp_path / "reference", SMALL, budget=False)
    reference, found = tree(tmp_path / "reference"), tree(out)
    assert {name: found[name] for name in found if name.endswith((".bin", ".idx"))} == {
        name: reference[name] for name in reference if name.endswith((".bin", ".idx"))
    }
    assert not children() - before


@pytest.mark.parametrize("kills", [20, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_kills_of_the_process_that_decodes(corpus, tmp_path, monkeypatch, kills):
    """By whom ever: nothing is lost."""
    binarize(corpus.write(), tmp_path / "reference", SMALL)
    dice, left = random.Random(1), [kills]

    class Killed(Child):
        def _receive(self):
            if left[0] and dice.random() < 0.7:
                left[0] -= 1
                time.sleep(dice.uniform(0, 0.004))
                os.kill(self._pid, signal.SIGKILL)
            super()._receive()

    monkeypatch.setattr(child, "_RESTARTS", 100)
    monkeypatch.setattr(job, "reader", Killed)
    while left[0]:
        resume = False
        while True:
            try:
                binarize(corpus.out, tmp_path / "bin", SMALL, overwrite=not resume, resume=resume)
                break
            except MMFairseqError as error:  # twice at the same file
                resume = "has no more memory" in str(error)
                if not resume:
                    raise
        assert tree(tmp_path / "bin") == tree(tmp_path / "reference")


def test_a_machine_without_memory_stops_the_run(corpus, tmp_path, monkeypatch):
    """Who is killed twice at a file is killed by the system: no recording is set aside for that."""

    def killed(path, *args):
        if path.endswith("u05.wav"):
            os.kill(os.getpid(), signal.SIGKILL)
        return read_audio(path, *args)

    binarize(corpus.write(), tmp_path / "reference", SMALL)
    monkeypatch.setitem(items.READERS, "sound", killed)
    with pytest.raises(MMFairseqError, match=r"u05\.wav: this machine has no more memory; .*--resume$"):
        binarize(corpus.out, tmp_path / "bin", SMALL)
    monkeypatch.undo()
    binarize(corpus.out, tmp_path / "bin", SMALL, resume=True)
    assert tree(tmp_path / "bin") == tree(tmp_path / "reference")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_leaves_no_process(corpus, tmp_path, monkeypatch, workers, how):
    def slow(path, *args):
        (tmp_path / f"pid{os.getpid()}").touch()
        time.sleep(1000)

    monkeypatch.setattr(child, "_PATIENCE", 1000)
    monkeypatch.setitem(items.READERS, "sound", slow)
    corpus.write()

    def run():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        binarize(corpus.out, tmp_path / "bin", SMALL, workers)

    process = FORK.Process(target=run)
    process.start()
    limit = time.monotonic() + 300
    while len(list(tmp_path.glob("pid*"))) < workers and time.monotonic() < limit:
        time.sleep(0.01)
    pids = [int(path.name[3:]) for path in tmp_path.glob("pid*")]
    assert len(pids) == workers
    os.kill(process.pid, how)
    process.join()
    limit = time.monotonic() + 200
    while any(map(lives, pids)) and time.monotonic() < limit:
        time.sleep(0.02)
    assert not any(map(lives, pids))
    monkeypatch.undo()
    binarize(corpus.out, tmp_path / "bin", SMALL, resume=True)


@pytest.mark.parametrize("path", ["../outside.wav", "a/../../outside.wav", "/etc/hostname", ".."])
def test_paths_that_lead_out(corpus, path):
    corpus.write()
    table = corpus.out / "manifest.tsv"
    table.write_text(table.read_text().replace("u03.wav", path))
    with pytest.raises(MMFairseqError, match=rf"manifest\.tsv:6: utterance 'u03': .*{path}"):
        Manifest.read(table)


def test_links(corpus, tmp_path):
    """Those that stay inside are followed, of files and of folders; those that lead out are told, unless allowed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number in (1, 2):
        (corpus.raw / f"u0{number}.wav").rename(elsewhere / f"u0{number}.wav")
    (corpus.raw / "u01.wav").symlink_to(elsewhere / "u01.wav")
    (corpus.raw / "folder").symlink_to(elsewhere)
    corpus.rows[2] = replace(corpus.rows[2], audio="folder/u02.wav")
    (corpus.raw / "own").mkdir()
    (corpus.raw / "u03.wav").rename(corpus.raw / "own/u03.wav")
    (corpus.raw / "u03.wav").symlink_to("own/u03.wav")
    (corpus.raw / "u04.wav").unlink()
    (corpus.raw / "u04.wav").symlink_to("u04.wav")
    corpus.write()
    (tmp_path / "root").symlink_to(corpus.raw)
    table = corpus.out / "manifest.tsv"
    table.write_text(table.read_text().replace(f"root={corpus.raw}", f"root={tmp_path}/root"))
    small = ["--tokenizer", "words", "--workers", "1"]
    assert main(["binarize", str(corpus.out), str(tmp_path / "bin"), *small]) == 0
    found = {row["id"]: row for row in problems(tmp_path / "bin")}
    assert {name: row["code"] for name, row in found.items()} == {
        "u01": "outside_root",
        "u02": "outside_root",
        "u04": "unreadable",
    }
    assert f"a link to {elsewhere}/u01.wav" in found["u01"]["error"]
    assert "--follow-links" in found["u01"]["error"]
    assert main(["binarize", str(corpus.out), str(tmp_path / "all"), *small, "--follow-links"]) == 0
    assert [row["id"] for row in problems(tmp_path / "all")] == ["u04"]
    assert json.loads((tmp_path / "all/meta.json").read_text())["settings"]["follow_links"] is True


def test_no_recordings(corpus, tmp_path):
    """Devices, pipes, folders, addresses, and lists of further files, are not opened."""
    os.mkfifo(corpus.raw / "pipe.wav")
    (corpus.raw / "null.wav").symlink_to("/dev/zero")
    names = ["pipe.wav", "null.wav", "http://127.0.0.1:9/a.wav", "file:u00.wav", "concat:u00.wav|u01.wav", "pipe:0"]
    lists = {
        "list.wav": "ffconcat version 1.0\nfile u00.wav\n",
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile:{raw}/u00.wav\n#EXT-X-ENDLIST\n",
        "list.mpd": "<MPD><Period><AdaptationSet><SegmentList><SegmentURL media='u00.wav'/>"
        "</SegmentList></AdaptationSet></Period></MPD>",
        "list.sdp": "v=0\nm=audio 9 RTP/AVP 0\nc=IN IP4 127.0.0.1\n",
    }
    for name, text in lists.items():
        (corpus.raw / name).write_text(text.format(raw=corpus.raw))
    rows = [Utterance(f"v{number}", "train", audio=name, text="x") for number, name in enumerate([*names, *lists])]
    corpus.rows = [*corpus.rows, *(replace(row, labels={"emotion": "sad"}) for row in rows)]
    binarize(corpus.write(), tmp_path / "bin", SMALL, budget=False)
    codes = {row["id"]: row["code"] for row in problems(tmp_path / "bin")}
    assert codes == {
        **dict.fromkeys(("v2", "v3", "v4", "v5"), "missing_file"),
        **dict.fromkeys(("v6", "v7", "v8", "v9"), "unreadable"),
        "v0": "not_regular",
        "v1": "outside_root",
    }


def peak(pid):
    """Of a process: bytes of memory that it has taken at most."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def worked(pid):
    """Seconds of processor time that a child of this process has taken, and all those before it."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(map(int, words[11:13])) / os.sysconf("SC_CLK_TCK") + ended.ru_utime + ended.ru_stime


@pytest.fixture
def reading():
    read = Child({"sound": read_audio, "frames": lambda path: len(read_frames(path))})
    yield read
    read.close()


@pytest.mark.parametrize(("name", "size", "codec"), [("a.mp4", (8000, 4000), "mpeg4"), ("a.mkv", (8000, 3000), "ffv1")])
def test_bombs_of_pixels(tmp_path, reading, name, size, codec):
    """Small files of large pictures are refused before one of these is made."""
    reading("frames", str(write_picture(tmp_path / "small.mp4", (64, 64), "mpeg4")))
    path, before = write_picture(tmp_path / name, size, codec), peak(reading._pid)
    began = worked(reading._pid)
    with pytest.raises(MediaError, match=f"pictures of {size[0]}x{size[1]}; at most") as caught:
        reading("frames", str(path))
    assert caught.value.code == "too_large"
    assert worked(reading._pid) - began < 2
    assert peak(reading._pid) - before < 300 << 20


def test_bombs_of_samples(tmp_path, reading):
    """Half a million seconds of silence in a small FLAC, a thousand channels, a header of 64 GB."""
    soundfile.write(tmp_path / "long.flac", np.zeros(20_000_000, np.int16), 4000)
    soundfile.write(tmp_path / "wide.wav", np.zeros((20_000, 1000), np.int16), 16000)
    raw = bytearray((tmp_path / "long.flac").read_bytes()[:200])
    raw[18:26] = (int.from_bytes(raw[18:26], "big") | ((1 << 36) - 1)).to_bytes(8, "big")
    (tmp_path / "forged.flac").write_bytes(raw)
    soundfile.write(tmp_path / "small.wav", np.zeros(1000, np.int16), 16000)
    reading("sound", str(tmp_path / "small.wav"))
    before = peak(reading._pid)  # with what it was forked from
    assert reading("sound", str(tmp_path / "wide.wav")).nbytes == 40_000
    for name, code in (("long.flac", "too_long"), ("forged.flac", "unreadable")):
        began = worked(reading._pid)
        with pytest.raises(MediaError) as caught:
            reading("sound", str(tmp_path / name))
        assert caught.value.code in (code, "truncated")
        assert worked(reading._pid) - began < 2
    assert peak(reading._pid) - before < 600 << 20


@pytest.mark.parametrize("flips", [80, pytest.param(2000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_damaged_bytes(tmp_path, reading, flips):
    """Whatever stands in a file: an array or a reason, soon, and in the process that asks nothing happens."""
    rng, clips = np.random.default_rng(3), []
    wave = (rng.normal(0, 3000, 24_000)).astype(np.int16)
    for ending in ("wav", "flac", "ogg", "mp3"):
        clips.append(tmp_path / f"a.{ending}")
        soundfile.write(clips[-1], wave, 16000)
    pictures = rng.integers(0, 255, (15, 48, 64, 3)).astype(np.uint8)
    for ending, codecs in {"mp4": ("libx264", "aac"), "avi": ("mpeg4", "pcm_s16le"), "mkv": ("ffv1", "flac")}.items():
        clips.append(tmp_path / f"b.{ending}")
        write_film(clips[-1], pictures, wave, codecs)
    slowest, codes = 0.0, set()
    reading("sound", str(clips[0]))
    for number in range(flips):
        clip = clips[number % len(clips)]
        raw = bytearray(clip.read_bytes())
        reach = len(raw) if number % 2 else min(600, len(raw))  # headers are where it hurts
        for place in rng.integers(0, reach, rng.integers(1, 9)):
            raw[place] = rng.integers(0, 256)
        path = tmp_path / f"damaged{clip.suffix}"
        path.write_bytes(raw)
        for kind in ("sound", "frames"):
            began = worked(reading._pid)
            try:
                reading(kind, str(path))
            except MediaError as error:
                codes.add(error.code)
            slowest = max(slowest, worked(reading._pid) - began)
    assert slowest < 15
    assert len(codes) > 3


def write_film(path, pictures, wave, codecs):
    with av.open(str(path), "w") as container:
        video = container.add_stream(codecs[0], rate=10)
        video.height, video.width = pictures.shape[1:3]
        video.pix_fmt, video.codec_context.thread_count = "yuv420p", 1
        audio = container.add_stream(codecs[1], rate=16000, layout="mono")
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(video.encode(frame))
        for start in range(0, len(wave), 1024):
            part = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "s16", "mono")
            part.sample_rate, part.pts, part.time_base = 16000, start, Fraction(1, 16000)
            container.mux(audio.encode(part))
        container.mux(video.encode())
        container.mux(audio.encode())
