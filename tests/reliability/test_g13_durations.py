"""G13: no file that was cut gives less than it should and passes; hardly a whole one is refused."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from mm_fairseq.media import MediaError
from mm_fairseq.media.audio import read_audio
from mm_fairseq.media.child import Child
from mm_fairseq.media.video import read_frames

FPS, BLOCK, SIDES = 25, 1024, (96, 64)

# Name: ending; options of soundfile, or codecs of pictures and sound, rate of the sound, and options of the container.
SOUNDS = {
    "wav": ("wav", {"subtype": "PCM_16"}),
    "wav, 24 bits": ("wav", {"subtype": "PCM_24"}),
    "wav, floats": ("wav", {"subtype": "FLOAT"}),
    "flac": ("flac", {}),
    "mp3": ("mp3", {}),
    "ogg": ("ogg", {}),
    "ogg, Opus": ("ogg", {"format": "OGG", "subtype": "OPUS"}),
}
FILMS = {
    "mp4": ("mp4", ("libx264", "aac"), {}),
    "mp4, index first": ("mp4", ("libx264", "aac"), {"movflags": "+faststart"}),
    "mp4, fragments": ("mp4", ("libx264", "aac"), {"movflags": "+frag_keyframe+empty_moov"}),
    "avi": ("avi", ("mpeg4", "libmp3lame"), {}),
    "avi, plain sound": ("avi", ("mpeg4", "pcm_s16le"), {}),
    "flv": ("flv", ("flv", "libmp3lame"), {}),
    "mkv": ("mkv", ("libx264", "aac"), {}),
    "webm": ("webm", ("libvpx", "libopus"), {}),
}
RATES = (16000, 44100, 48000)
SIZES = [(3, 8), pytest.param((10, 20), marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]


def voice(seconds, rate, rng):
    """Like a vowel, with some noise; int16."""
    time = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * time) / hertz for hertz in (120, 240, 480)) * 24
    return ((wave * np.sin(2 * np.pi * 2 * time) + rng.normal(0, 0.01, len(time))) * 16000).astype(np.int16)


def write_sound(path, seconds, rng, rate, options):
    soundfile.write(path, voice(seconds, rate, rng), rate, **options)


def write_film(path, pictures, sound, rng, codecs, options):
    """So many seconds of pictures and of sound; the rate of the sound is one that every codec knows."""
    rate, done = 48000, 0
    samples, base = voice(sound, rate, rng), rng.integers(0, 255, (*SIDES[::-1], 3)).astype(np.uint8)
    with av.open(str(path), "w", container_options=options) as container:
        video = container.add_stream(codecs[0], rate=FPS)
        video.width, video.height, video.pix_fmt, video.bit_rate = *SIDES, "yuv420p", 300_000
        video.codec_context.thread_count = 1
        audio = container.add_stream(codecs[1], rate=rate, layout="mono")
        for number in range(round(max(pictures, sound) * FPS)):
            if number < round(pictures * FPS):
                frame = av.VideoFrame.from_ndarray(np.roll(base, 3 * number, 1), "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, FPS)
                container.mux(video.encode(frame))
            while done < min((number + 1) * rate // FPS, len(samples)):
                part = av.AudioFrame.from_ndarray(samples[None, done : done + BLOCK], "s16", "mono")
                part.sample_rate, part.pts, part.time_base = rate, done, Fraction(1, rate)
                container.mux(audio.encode(part))
                done += BLOCK
        container.mux(video.encode())
        container.mux(audio.encode())


def sound_seconds(path):
    return len(read_audio(path)) / 16000


def film_seconds(path):
    return len(read_frames(path, fps=float(FPS))) / FPS


@pytest.fixture(scope="module")
def read():
    made = Child({"sound": sound_seconds, "pictures": film_seconds})
    yield made
    made.close()


def tolerance(seconds):
    return max(0.05, 0.005 * seconds) + 1e-6


def cuts(size, count, rng):
    """Anywhere, and near the end, where little is missing."""
    near = [size - 1, size - 2, size - 20, size - 200, *(int(size * share) for share in (0.998, 0.995, 0.99, 0.98))]
    some = rng.uniform(0.005, 0.98, max(1, count - len(near))) * size
    return sorted({max(1, int(cut)) for cut in (*rng.permutation(near)[: count - 1], *some)})


def sweep(read, tmp_path, ending, write, kinds, files, count):
    """No cut file passes as a short one, no whole one is refused, no decoder breaks."""
    rng, refused, silent, broken = np.random.default_rng(5), [], [], []
    whole, cut = tmp_path / f"whole.{ending}", tmp_path / f"cut.{ending}"
    for _ in range(files):
        seconds = round(rng.uniform(1.2, 6.0) * FPS) / FPS
        write(whole, seconds, rng)
        raw = whole.read_bytes()
        for kind in kinds:
            try:
                assert abs(read(kind, str(whole)) - seconds) < tolerance(seconds) + 0.05  # codecs fill their last block
            except MediaError as error:
                refused.append((kind, str(error)))
        for place in cuts(len(raw), count, rng):
            cut.write_bytes(raw[:place])
            for kind in kinds:
                try:
                    found = read(kind, str(cut))
                except MediaError as error:
                    broken += [error] if error.code in ("crashed", "timeout", "out_of_memory") else []
                    continue
                if found < seconds - tolerance(seconds):
                    silent.append((kind, seconds, found, len(raw) - place))
    assert not silent
    assert not refused
    assert not broken


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SOUNDS)
def test_cut_sounds(read, tmp_path, name, size):
    ending, options = SOUNDS[name]
    rates = (48000,) if "Opus" in name else RATES

    def write(path, seconds, rng):
        write_sound(path, seconds, rng, int(rng.choice(rates)), options)

    sweep(read, tmp_path, ending, write, ["sound"], *size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", FILMS)
def test_cut_films(read, tmp_path, name, size):
    ending, codecs, options = FILMS[name]

    def write(path, seconds, rng):
        write_film(path, seconds, seconds, rng, codecs, options)

    sweep(read, tmp_path, ending, write, ["sound", "pictures"], *size)


@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize(("pictures", "sound"), [(2.0, 1.6), (1.6, 2.0)])
def test_whole_films_whose_tracks_differ(read, tmp_path, name, pictures, sound):
    """A track that ends before the other is short by nature; a span beyond it is an error."""
    ending, codecs, options = FILMS[name]
    path = tmp_path / f"a.{ending}"
    write_film(path, pictures, sound, np.random.default_rng(0), codecs, options)
    assert abs(read("sound", str(path)) - sound) < 0.1
    assert abs(read("pictures", str(path)) - pictures) < 0.1
    reader = read_frames if pictures < sound else read_audio
    with pytest.raises(MediaError) as caught:
        reader(path, 1.0, 1.95)
    assert caught.value.code in ("span_outside", "truncated")


@pytest.mark.parametrize("whole", [40, pytest.param(400, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_whole_files_are_not_refused(read, tmp_path, whole):
    """At most 0.5 %, of any length, rate and number of channels."""
    rng, refused, kinds = np.random.default_rng(7), [], [*SOUNDS, *FILMS]
    for number in range(whole):
        name, seconds = kinds[number % len(kinds)], float(rng.uniform(0.3, 4.0))
        path = tmp_path / f"a.{(SOUNDS.get(name) or FILMS[name])[0]}"
        if name in SOUNDS:
            rate = 48000 if "Opus" in name else int(rng.choice((8000, 11025, 16000, 22050, 32000, 44100, 48000)))
            wave = np.repeat(voice(seconds, rate, rng)[:, None], rng.integers(1, 3), axis=1)
            soundfile.write(path, wave, rate, **SOUNDS[name][1])
        else:
            seconds = max(2, round(seconds * FPS)) / FPS
            write_film(path, seconds, max(0.1, seconds + rng.normal(0, 0.3)), rng, *FILMS[name][1:])
        for kind in ("sound", "pictures") if name in FILMS else ("sound",):
            try:
                read(kind, str(path))
            except MediaError as error:
                refused.append((name, kind, str(error)))
    assert len(refused) <= 0.005 * whole, refused


@pytest.mark.real
def test_real_recordings_are_not_refused(read, real_data):
    files = sorted((real_data / "nemo/audio").glob("*.flac"))[:300] + sorted((real_data / "grid").glob("*.mpg"))
    assert len(files) > 300
    for path in files:
        assert read("sound", str(path)) > 0.4
        assert path.suffix != ".mpg" or abs(read("pictures", str(path)) - 3.0) < 0.1


def test_what_cannot_be_told(read, tmp_path):
    """MPEG's streams say nowhere how long they are: cut between two frames they are whole shorter ones."""
    write_film(tmp_path / "a.mpg", 2.0, 2.0, np.random.default_rng(0), ("mpeg1video", "mp2"), {})
    raw = Path(tmp_path / "a.mpg").read_bytes()
    (tmp_path / "cut.mpg").write_bytes(raw[: len(raw) // 2])
    assert read("pictures", str(tmp_path / "cut.mpg")) < 1.9
    with pytest.raises(MediaError, match="ends"):
        read_frames(tmp_path / "cut.mpg", 0.0, 2.0)
