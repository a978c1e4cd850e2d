"""One track of a container file, decoded by PyAV within bounds. Times are seconds since the beginning of the file."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from . import MediaError, check_file, raise_passing, read_through
from .ends import is_cut

# PyAV raises builtin errors too: MemoryError on some MP4s, UnicodeDecodeError on tags, EOFError at the end.
FAILURES = (av.error.FFmpegError, MemoryError, OSError, EOFError, ValueError)

_PREROLL = 1.0  # seconds decoded before a span, for decoders to settle
_NO_LENGTH = {"mpeg", "mpegts"}  # containers whose duration is a guess

# Formats of one file each. Playlists and their like name further files, which a stranger's must not; FFmpeg knows many
# more, for cameras, games and networks, that no corpus is in and hardly anybody has looked through.
FORMATS = (
    *("3g2", "3gp", "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dts", "dv"),
    *("eac3", "flac", "flv", "gif", "gsm", "h264", "hevc", "iff", "ircam", "ivf", "live_flv", "m4a", "m4v", "matroska"),
    *("mj2", "mjpeg", "mov", "mp3", "mp4", "mpeg", "mpegts", "mpegvideo", "mxf", "nistsphere", "nut", "ogg", "qcp"),
    *("rm", "sox", "swf", "tta", "voc", "vob", "w64", "wav", "webm", "wtv", "wv", "xwma", "yuv4mpegpipe"),
)


class Track:
    """The first audio or video track of a file; use it in a `with` block.

    Args:
        path: the file.
        kind: "audio" or "video".

    Raises:
        MediaError: as `check_file`, and unreadable, no_audio_track or no_video_track.
    """

    def __init__(self, path: str | os.PathLike, kind: str) -> None:
        self.path = check_file(path)
        self.kind = kind
        self.packets = self.errors = 0
        self._reach = 0.0  # where packets of the other tracks end

    def __enter__(self) -> "Track":
        try:
            self._container = av.open(
                os.path.abspath(self.path),
                metadata_errors="replace",
                options={"protocol_whitelist": "file", "format_whitelist": ",".join(FORMATS)},
            )
        except FAILURES as error:
            raise_passing(error, by_decoder=True)
            raise MediaError(
                "unreadable", f"{self.path}: not an audio or video file that PyAV reads: {_reason(error)}"
            ) from error
        try:
            streams: Any = getattr(self._container.streams, self.kind)
            if not streams:
                raise MediaError(f"no_{self.kind}_track", f"{self.path}: the file has no {self.kind} track; replace it")
            self.stream = streams[0]
            if self.stream.codec_context is None:
                raise MediaError("unreadable", f"{self.path}: no decoder for its {self.kind} track")
            self.stream.codec_context.thread_count = 1
        except BaseException:
            self._container.close()
            raise
        self._origin = (self._container.start_time or 0) / av.time_base
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.close()

    @property
    def declared(self) -> float | None:
        """Where the track ends by what the file declares, in seconds; None where it does not say."""
        if self._container.format.name in _NO_LENGTH:
            return None
        ticks = self.stream.duration or 0
        if (
            self._container.format.name == "avi"
        ):  # PyAV shortens the duration to the file; the header's count stands still
            ticks = max(ticks, self.stream.frames)
        if ticks:
            return float(((self.stream.start_time or 0) + ticks) * self.stream.time_base) - self._origin
        return self._container.duration / av.time_base if self._container.duration else None

    def ended(self, covered: float) -> float | None:
        """Where the track ends, once it was decoded up to `covered` seconds.

        As `declared`; but where only the container says how long it is, another track goes on until then and the file
        is whole, this one is shorter.
        """
        declared = self.declared
        if declared is None or self.stream.duration or self._reach < min(declared - 0.05, 0.995 * declared):
            return declared
        return declared if is_cut(self.path) else min(declared, covered)

    @property
    def is_cover(self) -> bool:
        """Whether it is one picture that comes with the sound, as of a record's sleeve."""
        return bool(self.stream.disposition & av.stream.Disposition.attached_pic)

    def ends(self) -> dict[str, float | None]:
        """Where the first tracks of "audio" and "video" end by their packets, in seconds; None where there is none.

        Nothing is decoded. Not later than what the track itself declares, and where the file breaks off, there.
        """
        streams = {kind: next(iter(getattr(self._container.streams, kind)), None) for kind in ("audio", "video")}
        found = {stream.index: 0.0 for stream in streams.values() if stream is not None}
        try:
            for packet in self._container.demux(*(stream for stream in streams.values() if stream is not None)):
                if packet.pts is not None and packet.time_base is not None:
                    end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._origin
                    if not packet.duration and packet.stream.type == "video":
                        end += 1 / float(packet.stream.average_rate or 25)
                    found[packet.stream_index] = max(found[packet.stream_index], end)
        except FAILURES as error:
            raise_passing(error, by_decoder=True)
        if self.declared is not None:
            found[self.stream.index] = min(found[self.stream.index], self.declared)
        return {kind: None if stream is None else found[stream.index] for kind, stream in streams.items()}

    @property
    def guess(self) -> float | None:
        """As `declared`, or else what the container's bit rate suggests."""
        return self.declared or (self._container.duration / av.time_base if self._container.duration else None)

    def frames(self, start: float = 0.0) -> Iterator[tuple[float, Any]]:
        """Decode from a little before `start`: pairs of time and frame, in the order of time.

        Raises:
            MediaError: unreadable where no frame could be decoded, corrupt where more than a few packets are damaged.
        """
        if start > 2 * _PREROLL:
            frames = self._decode(start - _PREROLL)
            first = next(frames, None)
            if first is not None and first[0] <= start:
                yield first
                yield from frames
                return self._judge()
            self.packets = self.errors = 0  # the container's index leads astray: decode everything
        yield from self._decode(0.0)
        return self._judge()

    def _decode(self, start: float) -> Iterator[tuple[float, Any]]:
        time = step = 0.0
        try:
            if start or self.packets:
                self._container.seek(int((start + self._origin) * av.time_base))
            for packet in self._container.demux(*self._watched()):
                if packet.stream_index != self.stream.index:
                    if packet.pts is not None and packet.time_base is not None:
                        end = float((packet.pts + (packet.duration or 0)) * packet.time_base) - self._origin
                        self._reach = max(self._reach, end)
                    continue
                self.packets += 1
                try:
                    decoded: Any = packet.decode()
                except FAILURES:
                    self.errors += 1
                    continue
                for frame in decoded:
                    known = frame.time is not None
                    step = max(0.0, frame.time - self._origin - time) if known else step
                    time = frame.time - self._origin if known else time + step
                    yield time, frame
        except FAILURES as error:
            raise_passing(error, by_decoder=True)
            read_through(self.path)
            self.errors += 1

    def _watched(self) -> list[Any]:
        """The track, and the others where only the container says how long it is."""
        if self.stream.duration or self.declared is None:
            return [self.stream]
        return [*self._container.streams.video, *self._container.streams.audio]

    def _judge(self) -> None:
        if self.errors > max(2, 0.02 * self.packets):
            raise MediaError(
                "corrupt", f"{self.path}: {self.errors} of {self.packets} {self.kind} packets could not be decoded"
            )


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def has_track(path: str | os.PathLike, kind: str) -> bool:
    """Whether a file can be opened and has an "audio" or "video" track."""
    try:
        with Track(Path(path), kind):
            return True
    except MediaError:
        return False
