"""The API's answers, as its OpenAPI document describes them."""

from typing import Any, Literal

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="in words, for a person")
    code: str = Field(description="one word, for a program: busy, too_large, too_long, unreadable, no_modality, ...")


class Health(BaseModel):
    """Whether the server answers, and how busy it is."""

    status: Literal["ok"] = "ok"
    version: str = Field(description="of mm-fairseq")
    under_way: int = Field(description="requests about clips, those that still come in and those that wait included")
    waiting: int = Field(description="clips of these that wait for their turn")
    recordings: int = Field(description="that are worked at or wait")


class ServedTarget(BaseModel):
    """One thing that is predicted."""

    name: str
    kind: str = Field(description="single, binary_each, multilabel or regression")
    classes: list[str] = Field(description="labels; none where a number is predicted")


class ServedLimits(BaseModel):
    """What is taken."""

    upload_bytes: int = Field(description="of the files of a request")
    seconds: float = Field(description="of a clip, or of the span of it that is asked for")
    shortest_hop: float = Field(description="seconds from one window of a recording to the next, at least")
    recording_seconds: float = Field(description="of a recording for /api/segments")
    text_characters: int = Field(description="of the words; those of a window of a recording are cut there")
    subtitle_bytes: int
    timeout_seconds: float = Field(description="from the beginning of a request to its answer")
    queue: int = Field(description="requests about clips at once; further ones get 429")
    recordings: int = Field(description="for /api/segments at once; further ones get 429")
    jobs: int = Field(description="clips that are decoded at once")
    kept_seconds: float = Field(description="for which a recording, or its result, is kept after it was last asked for")


class ServedModel(BaseModel):
    """What the checkpoint reads and predicts."""

    architecture: str
    version: str = Field(description="of mm-fairseq")
    modalities: list[str] = Field(description="of audio, text, video; any subset of them is answered")
    features: list[str] = Field(description="those of them that come as features, in the part `features`")
    targets: list[ServedTarget]
    limits: ServedLimits


class Score(BaseModel):
    """One label; of a regression, its number under the target's own name."""

    label: str
    score: float


class ServedNote(BaseModel):
    """A fallback: what is wrong with a modality, and what was done instead."""

    modality: str
    code: str = Field(description="one word: no_face, silent, cut, ...")
    message: str


class Prediction(BaseModel):
    """What the model says of one clip."""

    id: str = Field(description="the name of the file")
    modalities: list[str] = Field(description="what the model got of the clip")
    seconds: float | None = Field(description="length of the clip; null where it has neither sound nor pictures")
    predictions: dict[str, str | list[str] | float] = Field(description="target to label, list of labels or number")
    targets: dict[str, list[Score]] = Field(description="target to scores, best first")
    notes: list[ServedNote]


class Explained(BaseModel):
    """A prediction, and what it rests on."""

    answer: Prediction
    explanation: dict[str, Any] = Field(description="attention over time, and the effect of leaving out each modality")
    picture: str | None = Field(description="data URL of a picture of it")


class Results(BaseModel):
    """Where the result of a recording is, from `done` on."""

    json_: str = Field(alias="json", description="segments, one with the scores of all targets each")
    csv: str
    vtt: str = Field(description="WebVTT, to be shown over the recording")
    png: str = Field(description="timeline")


class JobState(BaseModel):
    """A recording that is answered window by window."""

    id: str
    url: str
    name: str = Field(description="of the recording's file")
    status: Literal["waiting", "running", "done", "failed", "cancelled"]
    progress: float | None = Field(description="0 to 1; null while the length is not known")
    segments: int = Field(description="that are there so far")
    seconds: float | None = Field(description="of the recording that are done")
    error: str | None = Field(description="in words, where it failed")
    code: str | None
    results: Results


def form(fields: dict[str, str], files: dict[str, str]) -> dict[str, Any]:
    """A form for OpenAPI.

    Args:
        fields: name to type and what it is, "number: seconds".
        files: part to what it is.
    """
    properties: dict[str, Any] = {
        name: {"type": "string", "format": "binary", "description": told} for name, told in files.items()
    }
    for name, told in fields.items():
        kind, _, words = told.partition(": ")
        properties[name] = {"type": kind, "description": words}
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


_TOLD = {
    403: "the request comes from a page of another site, or under a name that is not this machine's",
    404: "no such thing, or no longer",
    409: "the recording is not done",
    408: "the files came too slowly",
    413: "larger than is taken",
    415: "not a form, or a file of a form that cannot be read",
    422: "a part that is not understood; or a file is damaged, too long, or has nothing that the model reads",
    429: "too many requests are under way; `Retry-After` says when to come again",
    503: "not answered in time, more is under way than is taken, or the server stops; `Retry-After` says when to come "
    "again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses` of a route."""
    return {status: {"model": Problem, "description": _TOLD[status]} for status in statuses}
