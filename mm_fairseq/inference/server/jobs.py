"""Long recordings: worked at one after another, asked for again and again, and given up when nobody asks any more."""

import asyncio
import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ...errors import MMFairseqError
from ..model import BATCH
from ..recording import Recording
from ..segments import SegmentFiles
from ..subtitles import Cue, Script
from ..windows import Segment, segments
from .asked import refusal
from .limits import Limits, Refused
from .uploads import Form, Uploads
from .work import BATCH_SECONDS, SharedModel

_KEPT = 32  # jobs, those that have ended included
_SWEEP = 20.0  # seconds
_PATIENCE = 5.0  # seconds for a job to stop

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a recording, see `windows.predict_segments`."""

    window: float
    hop: float
    cues: tuple[Cue, ...] = ()
    start: float | None = None
    end: float | None = None
    without: tuple[str, ...] = ()


@dataclass(eq=False)
class Job:
    """One recording.

    Args:
        form: that it came with.
        wanted: of it.
        folder: for its results.
    """

    form: Form
    wanted: Wanted
    folder: Path
    status: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    windows: int = 0
    done: int = 0
    seconds: float | None = None
    error: str | None = None
    code: str | None = None
    asked_for: float = field(default_factory=time.monotonic)  # or, where that was later, when it ended
    task: "asyncio.Task[None] | None" = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        return self.status not in ("waiting", "running")


class Jobs:
    """All recordings of a server. Its methods are called in the event loop.

    Args:
        model: that answers.
        limits: of the server.
        uploads: whose forms the recordings come with.
    """

    def __init__(self, model: SharedModel, limits: Limits, uploads: Uploads) -> None:
        self._model, self._limits, self._uploads = model, limits, uploads
        self._reader = model.new_reader()
        self._jobs: dict[str, Job] = {}
        self._under_way: set[Job] = set()  # those that were dropped, too, until they have stopped
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._under_way)

    def check(self) -> None:
        """Whether there is room for one more.

        Raises:
            Refused: there is not.
        """
        if len(self) >= self._limits.recordings:
            told = f"{len(self)} recordings are under way, as many as are taken; try again later"
            raise Refused(429, "busy", told, again=30)

    def submit(self, form: Form, wanted: Wanted) -> str:
        """Begin with a recording; its form is kept as long as it takes. Gives the job's id."""
        self.check()
        for name in [name for name, job in self._jobs.items() if job.ended][: max(0, len(self._jobs) - _KEPT + 1)]:
            self.drop(name)
        name = secrets.token_urlsafe(16)
        form.kept = True
        self._jobs[name] = job = Job(form, wanted, self._uploads.folder / f"job-{name}")
        self._under_way.add(job)
        job.task = self._begin(self._work(job))
        if self._sweeper is None or self._sweeper.done():
            self._sweeper = self._begin(self._sweep())
        return name

    def get(self, name: str) -> Job:
        """Raises: Refused: there is no such job."""
        if (job := self._jobs.get(name)) is None:
            raise Refused(404, "not_found", "no such recording, or it was forgotten")
        job.asked_for = time.monotonic()
        return job

    def drop(self, name: str) -> None:
        """Stop and forget."""
        job = self.get(name)
        del self._jobs[name]
        job.stop.set()
        if job.status == "waiting" and job.task:
            job.task.cancel()
            self._end(job)  # not left to the task, which may not have begun
        if job.ended:
            shutil.rmtree(job.folder, ignore_errors=True)

    async def close(self) -> None:
        """Stop all."""
        for job in self._jobs.values():
            job.stop.set()
        if self._sweeper:
            self._sweeper.cancel()
        tasks = list(self._tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)
        for task in tasks:
            task.cancel()
        self._reader.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _sweep(self) -> None:
        """Give up what nobody has asked for in a while, as long as there are recordings.

        Who has left before the name of a job came will never ask for it.
        """
        while self._jobs:
            await asyncio.sleep(min(_SWEEP, self._limits.kept_seconds))
            late = time.monotonic() - self._limits.kept_seconds
            for name in [name for name, job in self._jobs.items() if job.asked_for < late]:
                self.drop(name)

    async def _work(self, job: Job) -> None:
        try:
            async with self._turn:
                if not job.stop.is_set():
                    job.status = "running"
                    await _in_thread(lambda: self._try(job))
        finally:
            job.asked_for = time.monotonic()
            if job.stop.is_set():
                shutil.rmtree(job.folder, ignore_errors=True)
            self._end(job)

    def _end(self, job: Job) -> None:
        self._uploads.release(job.form)
        self._under_way.discard(job)

    def _try(self, job: Job) -> None:
        try:
            self._run(job)
            job.status = "cancelled" if job.stop.is_set() else "done"
        except Refused as error:
            self._fail(job, error.code, error.message)
        except MMFairseqError as error:
            refused = refusal(error, job.form, self._limits.seconds)
            self._fail(job, refused.code, self._model.told(refused.message))
        except OSError as error:
            logger.warning("the machine is at fault: %s", error.strerror)
            self._fail(job, "machine", "the machine cannot read files now, or has no room; try again later")
        except Exception:
            logger.exception("a recording failed")
            self._fail(job, "internal", "the server failed at this recording; its log says more")

    def _fail(self, job: Job, code: str, message: str) -> None:
        job.status, job.code, job.error = "failed", code, message

    def _run(self, job: Job) -> None:
        wanted, files, model = job.wanted, job.form.files, self._model
        with Recording(
            self._reader,
            files.get("clip"),
            files.get("audio"),
            wanted.window,
            wanted.hop,
            start=wanted.start,
            end=wanted.end,
            without=wanted.without,
        ) as recording:
            if recording.windows.last - recording.windows.first > self._limits.recording_seconds:
                told = f"longer than {self._limits.recording_seconds:g} s: ask for a span of it by start and end"
                raise Refused(422, "too_long", told)
            job.windows = len(recording.windows)
            job.folder.mkdir(mode=0o700)
            with SegmentFiles(job.folder, {}, model.kinds) as kept:
                size = max(1, min(BATCH, int(BATCH_SECONDS // wanted.window)))
                script = Script(wanted.cues, self._limits.text_characters)
                found = segments(model, recording, script, size, without=wanted.without, reader=self._reader)
                for segment in found:
                    if job.stop.is_set():
                        return
                    kept.add(_named(segment, job.form.told))
                    job.done, job.seconds = kept.done, segment.end
                kept.finish(job.form.name)


def _named(segment: Segment, told: Callable[[str], str]) -> Segment:
    """Without the folders of this machine in its notes."""
    if segment.answer is not None:
        notes = segment.answer.notes
        segment.answer.notes = tuple(note._replace(message=told(note.message)) for note in notes)
    return replace(segment, note=told(segment.note))


async def _in_thread(run: Callable[[], None]) -> None:
    """Wait for a thread that is not waited for when the process ends."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def body() -> None:
        run()
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=body, daemon=True).start()
    await done.wait()
