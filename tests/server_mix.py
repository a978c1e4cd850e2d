"""Requests, good and bad, whose answers are known."""

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from hostile_files import write_picture
from servers import form, request

TOLERANCE = 1e-5


@dataclass
class Case:
    """One request: its form, and either the scores that must come back or the status and code of its refusal."""

    body: bytes
    scores: dict | None = None
    status: int = 200
    code: str = ""

    def raw(self, port):
        return request("POST", "/api/predict", port, self.body)

    def fault(self, reply):
        """What is wrong with a reply; "" for nothing."""
        if self.scores is None:
            if (reply.status, reply.body.get("code")) != (self.status, self.code) or not reply.body["error"]:
                return f"{reply.status} {reply.body}, not {self.status} {self.code}"
            return f"a folder in {reply.body}" if "mm-fairseq-serve-" in str(reply.body) else ""
        if reply.status != 200:
            return f"{reply.status} {reply.body}"
        for target, scores in self.scores.items():
            found = {each["label"]: each["score"] for each in reply.body["targets"][target]}
            if found.keys() != scores.keys() or max(abs(found[name] - scores[name]) for name in found) > TOLERANCE:
                return f"{target}: {found}, not {scores}"
        return ""


class Mix:
    """Clips with any part of them, and what is wrong with others.

    Args:
        model: `EmotionModel` that says what is right.
        clips: that it is asked for.
        folder: to write to.
    """

    def __init__(self, model, clips, folder):
        tone = folder / "tone.wav"
        tone.write_bytes(sound(1.3))
        self.good, self.bad = [], []
        for number, clip in enumerate(clips):
            film = clip.video.read_bytes()
            ways = [
                ({"text": clip.text}, {"clip": (clip.video.name, film)}, {"video": clip.video, "text": clip.text}),
                ({}, {"clip": (clip.video.name, film)}, {"video": clip.video}),
                ({"without": "video"}, {"clip": ("b.mp4", film)}, {"video": clip.video, "without": ["video"]}),
                ({"text": clip.text}, {"audio": ("c.wav", tone.read_bytes())}, {"audio": tone, "text": clip.text}),
                ({"text": clip.text}, {"clip": ("d.wav", tone.read_bytes())}, {"audio": tone, "text": clip.text}),
            ]
            fields, files, given = ways[number % len(ways)]
            wanted = model.predict(**given).targets
            scores = {name: {each["label"]: each["score"] for each in found} for name, found in wanted.items()}
            self.good.append(Case(form(fields, **files), scores))
        film = clips[0].video.read_bytes()
        for fields, files, status, code in (
            ({}, {"clip": ("a.mp4", b"no film" * 500)}, 415, "unreadable"),
            ({"text": "words"}, {"clip": ("a.mp4", b"no film" * 500)}, 415, "unreadable"),
            ({}, {"clip": ("a.mp4", b"")}, 422, "empty"),
            ({}, {"audio": ("a.wav", sound(2.0)[:20_000])}, 422, "truncated"),
            ({"text": "words"}, {"audio": ("a.wav", sound(2.0)[:20_000])}, 422, "truncated"),
            ({"without": "smell"}, {"clip": ("a.mp4", film)}, 422, "bad_field"),
            ({"start": "90"}, {"clip": ("a.mp4", film)}, 422, "span_outside"),
            ({"text": ""}, {}, 422, "no_modality"),
            ({}, {"audio": ("a.wav", sound(25.0))}, 422, "too_long"),
        ):
            self.bad.append(Case(form(fields, **files), None, status, code))

    def cases(self, count):
        """So many, two of five bad."""
        good, bad = iter(range(count)), iter(range(count))
        return [
            self.bad[next(bad) % len(self.bad)] if number % 5 in (1, 3) else self.good[next(good) % len(self.good)]
            for number in range(count)
        ]


def sound(seconds, rate=16000, value=3000):
    """A WAV of a tone."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((value * np.sin(np.arange(int(seconds * rate)) * 0.05)).astype("<i2").tobytes())
    return file.getvalue()


def bad_media(folder):
    """Files of the kinds that the reliability tests make: bombs, forged and cut ones, lists, damaged bytes."""
    rng, found = np.random.default_rng(3), []

    def path(name):
        found.append(Path(folder) / name)
        return found[-1]

    soundfile.write(path("long.flac"), np.zeros(20_000_000, np.int16), 4000)
    raw = bytearray(found[-1].read_bytes()[:200])
    raw[18:26] = (int.from_bytes(raw[18:26], "big") | ((1 << 36) - 1)).to_bytes(8, "big")
    path("forged.flac").write_bytes(raw)
    write_picture(path("large.mp4"), (8000, 4000), "mpeg4")
    path("list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile:/etc/hostname\n#EXT-X-ENDLIST\n")
    path("list.wav").write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    path("list.sdp").write_text("v=0\nm=audio 9 RTP/AVP 0\nc=IN IP4 127.0.0.1\n")
    soundfile.write(path("wide.wav"), np.zeros((20_000, 1000), np.int16), 16000, format="WAV")
    tone = (rng.normal(0, 3000, 24_000)).astype(np.int16)
    for ending in ("wav", "flac", "ogg", "mp3"):
        whole = Path(folder) / f"whole.{ending}"
        soundfile.write(whole, tone, 16000)
        content = whole.read_bytes()
        path(f"cut.{ending}").write_bytes(content[: len(content) // 3])
        for number in range(3):
            raw = bytearray(content)
            for place in rng.integers(0, 600, 6):
                raw[place] = rng.integers(0, 256)
            path(f"damaged{number}.{ending}").write_bytes(raw)
    return found
