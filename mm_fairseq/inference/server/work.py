"""From clips that wait to answers: some threads read, each with its own process that decodes, and one asks the model.

What has been read by the time the model is free goes through it in one batch.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from ...errors import MMFairseqError
from ..clips import Clip, Inputs
from ..model import BATCH, Answer, EmotionModel
from ..reading import ClipReader
from ..sources import Sources
from .limits import FRAMES, Limits, Refused, too_long

BATCH_SECONDS = 30.0  # of a batch, its padding included
READY_BYTES = 1 << 26  # of clips that were read and wait for the model
_PATIENCE = 5.0  # seconds for a thread to end

logger = logging.getLogger(__name__)


class SharedModel(EmotionModel):
    """A model that several threads may ask; whoever makes it compute otherwise than by `scores` holds `turn`."""

    def __init__(self, *args: Any, **more: Any) -> None:
        self.turn = threading.RLock()
        super().__init__(*args, **more)

    def scores(self, inputs: Sequence[Inputs]) -> dict[str, np.ndarray]:
        """As of `EmotionModel`, one caller after another."""
        with self.turn:
            return super().scores(inputs)

    def told(self, message: str) -> str:
        """A message without the folders of this machine that the model came from."""
        return message.replace(str(self.source), self.source.name)


@dataclass(eq=False)
class Ask:
    """One clip that somebody waits for; its future can be cancelled until the model has begun with it.

    Args:
        clip: to be read.
        without: modalities that are withheld.
        top_k: labels of each target.
        then: what is asked of the model; an `Answer` where None.
    """

    clip: Clip
    without: tuple[str, ...] = ()
    top_k: int | None = None
    then: Callable[[SharedModel, Inputs], Any] | None = None
    future: "Future[Any]" = field(default_factory=Future)

    def fail(self, error: Exception) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


class Workers:
    """The threads of a server.

    Args:
        model: that all ask.
        limits: how many threads read, and how long a clip may be.
    """

    def __init__(self, model: SharedModel, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._asked: SimpleQueue[Ask | None] = SimpleQueue()
        self._ready = _Ready()
        readings = [(self._read, model.new_reader()) for _ in range(limits.jobs)]
        self._threads = [threading.Thread(target=run, args=given, daemon=True) for run, *given in readings]
        self._threads.append(threading.Thread(target=self._answer, daemon=True))
        self._closed = False
        for thread in self._threads:
            thread.start()

    def submit(self, ask: Ask) -> "Future[Any]":
        """Have a clip answered.

        Raises:
            Refused: the server stops.
        """
        if self._closed:
            raise _stopping()
        self._asked.put(ask)
        return ask.future

    @property
    def waiting(self) -> int:
        """Clips that nobody has begun to read, or that wait for the model."""
        return self._asked.qsize() + len(self._ready)

    def close(self) -> None:
        """End the threads; who still waits is refused."""
        self._closed = True
        try:
            while ask := self._asked.get_nowait():
                ask.fail(_stopping())
        except Empty:
            pass
        for _ in self._threads[:-1]:
            self._asked.put(None)
        for ask in self._ready.close():
            ask.fail(_stopping())
        for thread in self._threads:
            thread.join(_PATIENCE)

    def _read(self, reader: ClipReader) -> None:
        with Sources() as sources:
            while ask := self._asked.get():
                if not ask.future.cancelled():
                    self._prepare(ask, reader, sources)
        reader.close()

    def _prepare(self, ask: Ask, reader: ClipReader, sources: Sources) -> None:
        try:
            inputs = reader.read(_known(ask.clip, sources), ask.without, strict=True)
            if self._is_long(inputs, reader):
                raise too_long(self._limits.seconds)
            if not self._ready.put(ask, inputs):
                raise _stopping()
        except (MMFairseqError, OSError, Refused) as error:
            ask.fail(error)
        except Exception as error:
            logger.exception("a clip could not be read")
            ask.fail(error)

    def _is_long(self, inputs: Inputs, reader: ClipReader) -> bool:
        """Features say nothing of their time: their frames are counted."""
        frames = max((len(inputs.items[name]) for name in reader.dims if name in inputs.items), default=0)
        return frames > FRAMES * self._limits.seconds or any(note.code == "too_long" for note in inputs.notes)

    def _answer(self) -> None:
        while batch := self._ready.take():
            going = [(ask, inputs) for ask, inputs in batch if ask.future.set_running_or_notify_cancel()]
            if len(going) > 1 and not self._together(going):
                for each in going:
                    self._alone(*each)
            elif len(going) == 1:
                self._alone(*going[0])

    def _together(self, going: Sequence[tuple[Ask, Inputs]]) -> bool:
        """Answer for a batch; False where one of it stands in the way."""
        try:
            answers = self._answers(going)
        except MMFairseqError:
            return False
        except Exception:
            logger.exception("a batch could not be answered")
            return False
        for (ask, _), answer in zip(going, answers, strict=True):
            ask.future.set_result(answer)
        return True

    def _alone(self, ask: Ask, inputs: Inputs) -> None:
        try:
            ask.future.set_result(ask.then(self._model, inputs) if ask.then else self._answers([(ask, inputs)])[0])
        except MMFairseqError as error:
            ask.future.set_exception(error)
        except Exception as error:
            logger.exception("a clip could not be answered")
            ask.future.set_exception(error)

    def _answers(self, going: Sequence[tuple[Ask, Inputs]]) -> list[Answer]:
        scores = self._model.scores([inputs for _, inputs in going])
        return [
            Answer(inputs, self._model.kinds, {name: found[row] for name, found in scores.items()}, ask.top_k)
            for row, (ask, inputs) in enumerate(going)
        ]


def _known(clip: Clip, sources: Sources) -> Clip:
    """A file without pictures is one of sound, under whichever name it was sent."""
    if isinstance(clip.video, Path) and clip.audio is None and not sources.has_pictures(clip.video):
        return replace(clip, video=None, audio=clip.video)
    return clip


def _stopping() -> Refused:
    return Refused(503, "stopping", "the server stops", again=10)


class _Ready:
    """Clips that were read, in their order; who brings more than `READY_BYTES` waits."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Ask, Inputs]] = deque()
        self._bytes, self._closed = 0, False
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, ask: Ask, inputs: Inputs) -> bool:
        """Whether it was taken; not where all was closed."""
        size = _size(inputs)
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._waiting or self._bytes + size <= READY_BYTES,
            )
            if not self._closed:
                self._waiting.append((ask, inputs))
                self._bytes += size
                self._changed.notify_all()
            return not self._closed

    def take(self) -> list[tuple[Ask, Inputs]]:
        """What goes through the model at once; nothing when all was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting)
            if self._closed:
                return []
            batch, longest = [self._pop()], 0.0
            while batch[0][0].then is None and len(batch) < BATCH and self._waiting:
                ask, inputs = self._waiting[0]
                longest = max(longest, batch[-1][1].seconds or 0.0, inputs.seconds or 0.0)
                if ask.then or longest * (len(batch) + 1) > BATCH_SECONDS:
                    break
                batch.append(self._pop())
            self._changed.notify_all()
            return batch

    def _pop(self) -> tuple[Ask, Inputs]:
        ask, inputs = self._waiting.popleft()
        self._bytes -= _size(inputs)
        return ask, inputs

    def close(self) -> list[Ask]:
        """Let go of who waits; gives those whose clips are not answered."""
        with self._changed:
            self._closed = True
            left = [ask for ask, _ in self._waiting]
            self._waiting.clear()
            self._changed.notify_all()
            return left


def _size(inputs: Inputs) -> int:
    return sum(item.nbytes for item in inputs.items.values())
