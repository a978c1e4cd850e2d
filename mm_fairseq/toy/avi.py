"""An AVI as IEMOCAP's `dialog/avi/DivX` holds it: MPEG-4 Part 2 pictures and a mono sound track."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import cv2
import numpy as np


def write_avi(path: Path, frames: Iterable[np.ndarray], sound: np.ndarray, fps: int, sample_rate: int) -> None:
    """Encode pictures and sound into one file, byte for byte the same each time.

    Args:
        path: the file to write.
        frames: RGB uint8 pictures of one size, Shape (H, W, 3); one at least.
        sound: int16 samples, Shape (T,); what goes on after the last picture is cut.
        fps: pictures a second.
        sample_rate: of `sound`, in Hz; a multiple of `fps`.
    """
    step = sample_rate // fps
    frames = iter(frames)
    first = next(frames)
    with av.open(str(path), "w", format="avi", container_options={"fflags": "+bitexact"}) as container:
        video = container.add_stream("mpeg4", rate=fps, options={"flags": "+bitexact"})
        video.codec_context.codec_tag = "XVID"
        video.codec_context.thread_count = 1
        video.height, video.width = first.shape[:2]
        video.pix_fmt, video.bit_rate = "yuv420p", 1_500_000
        audio = container.add_stream("pcm_s16le", rate=sample_rate, layout="mono")
        for index, picture in enumerate(chain([first], frames)):
            planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).astype(np.uint8, copy=False)
            image = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            image.pts, image.time_base = index, Fraction(1, fps)
            container.mux(video.encode(image))
            chunk = av.AudioFrame.from_ndarray(sound[None, index * step : (index + 1) * step], "s16", "mono")
            chunk.pts, chunk.sample_rate, chunk.time_base = index * step, sample_rate, Fraction(1, sample_rate)
            container.mux(audio.encode(chunk))
        container.mux(video.encode())
        container.mux(audio.encode())
