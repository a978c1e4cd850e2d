"""Small media files whose content is known: a tone, and pictures whose brightness is their number."""

from fractions import Fraction

import av
import numpy as np


def tone(seconds=1.0, rate=16000, hertz=440.0, channels=1):
    """Float samples, Shape (T, C), amplitude 0.5; further channels are silent."""
    wave = np.zeros((round(seconds * rate), channels))
    wave[:, 0] = 0.5 * np.sin(2 * np.pi * hertz * np.arange(len(wave)) / rate)
    return wave


def loudest_hertz(samples, rate=16000):
    return np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * rate / len(samples)


def write_video(path, frames=20, fps=10, size=(64, 48), sound=True, codec="mpeg4", rate=16000, pictures=None):
    """Frame k is grey of brightness 10 + 5 k (or `pictures[k]`); the sound is a tone of 440 Hz of the same length."""
    step = rate // fps
    wave = (tone(frames / fps, rate)[:, 0] * 32767).astype(np.int16)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=fps)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        video.bit_rate = 1_000_000
        track = (
            container.add_stream("mp2" if str(path).endswith("mpg") else "aac", rate=rate, layout="mono")
            if sound
            else None
        )
        for number in range(frames):
            grey = np.full((size[1], size[0], 3), 10 + 5 * number, np.uint8) if pictures is None else pictures[number]
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
            if track is not None:
                part = av.AudioFrame.from_ndarray(wave[None, number * step : (number + 1) * step], "s16", "mono")
                part.sample_rate, part.pts, part.time_base = rate, number * step, Fraction(1, rate)
                container.mux(track.encode(part))
        container.mux(video.encode())
        if track is not None:
            container.mux(track.encode())
    return path


def numbers(frames):
    """Which frames these are."""
    return [round((float(frame.mean()) - 10) / 5) for frame in frames]
