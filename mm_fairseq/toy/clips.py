"""Short clips with pictures and sound: mp4 (H.264 and AAC) and flv (Sorenson's H.263 and MP3)."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

BLOCK = 1024  # samples handed to the encoder at a time

# Ending: container, codec of the pictures (the first that this PyAV encodes), codec of the sound.
_FORMS = {".mp4": ("mp4", ("libx264", "mpeg4"), "aac"), ".flv": ("flv", ("flv",), "libmp3lame")}
_OPTIONS = {"libx264": {"preset": "superfast", "crf": "20"}}  # without looking ahead, which differs from run to run


def write_clip(
    path: Path, frames: Iterable[np.ndarray] | None, sound: np.ndarray | None, fps: int, sample_rate: int
) -> None:
    """Encode pictures and sound into one file, byte for byte the same each time.

    Args:
        path: the file to write, `.mp4` or `.flv`.
        frames: RGB uint8 pictures of one size, both sides even, Shape (H, W, 3); one at least. None writes no track.
        sound: int16 samples, Shape (T,). None writes no track.
        fps: pictures a second.
        sample_rate: of `sound`, in Hz; one that the codec knows.
    """
    form, pictures, sounds = _FORMS[path.suffix]
    with av.open(str(path), "w", format=form, container_options={"fflags": "+bitexact"}) as container:
        if frames is not None:
            frames = iter(frames)
            first = next(frames)
            name = next(each for each in pictures if each in av.codec.codecs_available)
            video = container.add_stream(name, rate=fps, options={"flags": "+bitexact", **_OPTIONS.get(name, {})})
            video.codec_context.thread_count = 1  # type: ignore[union-attr]
            video.height, video.width = first.shape[:2]  # type: ignore[union-attr]
            video.pix_fmt = "yuv420p"  # type: ignore[union-attr]
            if name not in _OPTIONS:
                video.bit_rate = 1_000_000  # type: ignore[union-attr]
        if sound is not None:
            audio = container.add_stream(sounds, rate=sample_rate, layout="mono", options={"flags": "+bitexact"})
        if frames is not None:
            for index, picture in enumerate([first, *frames]):
                planes = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2YUV_I420)
                image = av.VideoFrame.from_ndarray(planes.astype(np.uint8, copy=False), format="yuv420p")
                image.pts, image.time_base = index, Fraction(1, fps)
                container.mux(video.encode(image))  # type: ignore[union-attr,arg-type]
            container.mux(video.encode())  # type: ignore[union-attr]
        if sound is not None:
            for start in range(0, len(sound), BLOCK):
                chunk = av.AudioFrame.from_ndarray(sound[None, start : start + BLOCK], "s16", "mono")
                chunk.pts, chunk.sample_rate, chunk.time_base = start, sample_rate, Fraction(1, sample_rate)
                container.mux(audio.encode(chunk))  # type: ignore[union-attr,arg-type]
            container.mux(audio.encode())  # type: ignore[union-attr]
