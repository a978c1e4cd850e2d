"""Recordings whose every second is known: noise, and pictures whose brightness tells their number."""

from fractions import Fraction

import av
import numpy as np

RATE = 16000


def noise(seconds, seed=0):
    """Shape (T), int16."""
    return (np.random.default_rng(seed).standard_normal(round(seconds * RATE)) * 3000).astype(np.int16)


def write(path, seconds, fps=10, size=(64, 48), video="mjpeg", audio="pcm_s16le", live=False):
    """Sound is `noise(seconds)`; picture k is grey of brightness 20 + 2 (k % 100). Returns the path."""
    wave, step = noise(seconds), RATE // fps
    with av.open(str(path), "w", options={"live": "1"} if live else {}) as file:
        pictures = file.add_stream(video, rate=fps)
        pictures.width, pictures.height = size
        pictures.pix_fmt = "yuvj420p" if video == "mjpeg" else "yuv420p"
        sound = file.add_stream(audio, rate=48000 if audio == "libopus" else RATE, layout="mono")
        for number in range(round(seconds * fps)):
            grey = np.full((size[1], size[0], 3), 20 + 2 * (number % 100), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24").reformat(format=pictures.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            file.mux(pictures.encode(frame))
            part = av.AudioFrame.from_ndarray(wave[None, number * step : (number + 1) * step], "s16", "mono")
            part.sample_rate, part.pts, part.time_base = RATE, number * step, Fraction(1, RATE)
            file.mux(sound.encode(part))
        file.mux(pictures.encode())
        file.mux(sound.encode())
    return path


def damage(path, seconds, first, last):
    """Overwrite the part of a file that holds what lies between two seconds, of so many in all."""
    data = bytearray(path.read_bytes())
    begin, end = (round(len(data) * at / seconds) for at in (first, last))
    data[begin:end] = bytes(np.random.default_rng(1).integers(0, 256, end - begin, np.uint8))
    path.write_bytes(data)
