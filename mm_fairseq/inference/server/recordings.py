"""Routes about recordings that are answered window by window."""

import asyncio
from pathlib import PurePath

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from ...errors import MMFairseqError
from ..recording import HOP, WINDOW
from ..subtitles import Cue, parse
from .asked import FILES, SPAN, number, one, span, withheld
from .jobs import Job, Wanted
from .limits import Refused
from .predictions import REFUSALS, office_of
from .schemas import JobState, Results, form, problems

router = APIRouter()
_FIELDS = {
    "window": f"number: seconds of each segment; {WINDOW:g} by default",
    "hop": f"number: seconds from the beginning of one segment to that of the next; {HOP:g} by default",
    "subtitles": "string: WebVTT or SubRip, words with their times",
    **SPAN,
}
_FILES = {name: FILES[name] for name in ("clip", "audio")}
_KINDS = {"json": "application/json", "csv": "text/csv", "vtt": "text/vtt", "png": "image/png"}


@router.post("/api/segments", status_code=202, responses=REFUSALS, openapi_extra=form(_FIELDS, _FILES))
async def begin(request: Request, response: Response) -> JobState:
    """Begin with a recording: at least one of clip and audio.

    Ask for the job's `url` until its status is `done`; one that nobody asks for is given up after a while.
    """
    office = office_of(request)
    office.jobs.check()
    sizes = {name: office.limits.subtitle_bytes if name == "subtitles" else 0 for name in _FIELDS}
    async with office.received(request, sizes) as sent:
        if not {"clip", "audio"} & set(sent.files):
            raise Refused(422, "no_modality", "send a recording as clip, or as audio")
        if "features" in sent.files:
            raise Refused(422, "bad_field", "part 'features': a recording is sent as clip or as audio")
        window, hop = (
            default if (value := number(sent, name)) is None else value
            for name, default in (("window", WINDOW), ("hop", HOP))
        )
        if not office.limits.shortest_hop <= hop <= window <= office.limits.seconds:
            told = f"{office.limits.shortest_hop:g} <= hop <= window <= {office.limits.seconds:g} seconds must hold"
            raise Refused(422, "bad_field", f"window {window:g}, hop {hop:g}: {told}")
        cues = await asyncio.to_thread(_cues, one(sent, "subtitles"))
        without = withheld(sent, office.model.modalities)
        if await request.is_disconnected():
            raise Refused(499, "left", "the client has left")
        name = office.jobs.submit(sent, Wanted(window, hop, cues, *span(sent), without))
    state = _state(name, office.jobs.get(name))
    response.headers["Location"] = state.url
    return state


@router.get("/api/jobs/{name}", responses=problems(403, 404))
async def state(request: Request, name: str) -> JobState:
    """How far a recording is."""
    return _state(name, office_of(request).jobs.get(name))


@router.delete("/api/jobs/{name}", status_code=204, response_class=Response, responses=problems(403, 404))
async def forget(request: Request, name: str) -> None:
    """Stop and forget a recording."""
    office_of(request).jobs.drop(name)


@router.get("/api/jobs/{name}/segments.{kind}", response_class=FileResponse, responses=problems(403, 404, 409))
async def result(request: Request, name: str, kind: str) -> FileResponse:
    """The segments of a recording that is done; `kind` is json, csv or vtt."""
    if kind not in ("json", "csv", "vtt"):
        raise Refused(404, "not_found", "segments are there as json, csv and vtt")
    return _file(office_of(request).jobs.get(name), "segments", kind)


@router.get("/api/jobs/{name}/timeline.png", response_class=FileResponse, responses=problems(403, 404, 409))
async def timeline(request: Request, name: str) -> FileResponse:
    """A picture of the scores over a recording that is done."""
    return _file(office_of(request).jobs.get(name), "timeline", "png")


def _cues(text: str | None) -> tuple[Cue, ...]:
    try:
        return tuple(parse(text)) if text and text.strip() else ()
    except MMFairseqError as error:
        raise Refused(422, "bad_field", f"subtitles: {error}") from error


def _file(job: Job, name: str, kind: str) -> FileResponse:
    if job.status != "done":
        told = f"failed: {job.error}" if job.error else f"is {job.status}; there are results when it is done"
        raise Refused(409, "not_done", f"the recording {told}")
    shown = f"{PurePath(job.form.name).stem or 'recording'}.{name}.{kind}"
    way = "inline" if kind == "png" else "attachment"
    return FileResponse(
        job.folder / f"{name}.{kind}", 200, media_type=_KINDS[kind], filename=shown, content_disposition_type=way
    )


def _state(name: str, job: Job) -> JobState:
    url = f"/api/jobs/{name}"
    return JobState(
        id=name,
        url=url,
        name=job.form.name,
        status=job.status,
        progress=1.0 if job.status == "done" else job.done / job.windows if job.windows else None,
        segments=job.done,
        seconds=job.seconds,
        error=job.error,
        code=job.code,
        results=Results(
            json=f"{url}/segments.json",
            csv=f"{url}/segments.csv",
            vtt=f"{url}/segments.vtt",
            png=f"{url}/timeline.png",
        ),
    )
