"""A short MPEG-2 transport stream, as camcorders write `.m2ts`: one picture that stands, and sound."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

FPS = 25
_BLOCK = 1152  # samples in a frame of MPEG-1 layer 2


def write_m2ts(path: Path, picture: np.ndarray, sound: np.ndarray, sample_rate: int) -> None:
    """Encode a picture and sound into one file, byte for byte the same each time.

    Args:
        path: the file to write.
        picture: RGB uint8, even sizes. Shape (H, W, 3).
        sound: int16 samples, one channel. Shape (T,).
        sample_rate: of `sound`, in Hz; one that MPEG-1 layer 2 knows (32000, 44100, 48000).
    """
    frames = -(-len(sound) * FPS // sample_rate)
    planes = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2YUV_I420).astype(np.uint8, copy=False)
    with av.open(str(path), "w", format="mpegts", container_options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("mpeg2video", rate=FPS, options={"flags": "+bitexact"})
        video.codec_context.thread_count = 1
        video.height, video.width = picture.shape[:2]
        video.pix_fmt, video.bit_rate = "yuv420p", 1_500_000
        audio = container.add_stream("mp2", rate=sample_rate, layout="mono")
        for index in range(frames):
            image = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            image.pts, image.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(image))
        for start in range(0, len(sound), _BLOCK):
            chunk = av.AudioFrame.from_ndarray(sound[None, start : start + _BLOCK], "s16", "mono")
            chunk.pts, chunk.sample_rate, chunk.time_base = start, sample_rate, Fraction(1, sample_rate)
            container.mux(audio.encode(chunk))
        container.mux(video.encode())
        container.mux(audio.encode())
