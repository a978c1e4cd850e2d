"""Routes about the model, and about clips that are answered at once."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from ...versions import installed
from ..model import Answer
from .asked import FIELDS, FILES
from .office import Office
from .schemas import Health, Prediction, ServedLimits, ServedModel, ServedTarget, form, problems
from .uploads import Form

VERSION = installed(["mm-fairseq"]).get("mm-fairseq", "")

router = APIRouter()
REFUSALS = problems(403, 408, 413, 415, 422, 429, 503)


def office_of(request: Request) -> Office:
    return request.app.state.office


@router.get("/health")
async def health(request: Request) -> Health:
    """Whether the server answers, and how busy it is."""
    office = office_of(request)
    return Health(
        version=VERSION, under_way=office.under_way, waiting=office.workers.waiting, recordings=len(office.jobs)
    )


@router.get("/api/model")
async def model(request: Request) -> ServedModel:
    """What the checkpoint reads and predicts, and what the server takes."""
    office = office_of(request)
    return ServedModel(
        architecture=office.model.architecture,
        version=VERSION,
        modalities=list(office.model.modalities),
        features=sorted(office.model.reader.dims),
        targets=[
            ServedTarget(name=each.name, kind=each.kind, classes=list(each.classes)) for each in office.model.targets
        ],
        limits=ServedLimits(**asdict(office.limits)),
    )


@router.post("/api/predict", responses=REFUSALS, openapi_extra=form(FIELDS, FILES))
async def predict(request: Request) -> Prediction:
    """Answer for one clip: at least one of clip, audio, features and text.

    A file of which nothing can be used is refused, also where there is text: leave it out, then.
    """
    sent, answer = await office_of(request).answer(request)
    return prediction(sent, answer)


def prediction(sent: Form, answer: Answer) -> Prediction:
    """An answer without the folders of this machine."""
    found: dict[str, Any] = answer.to_json()
    found["notes"] = [note | {"message": sent.told(note["message"])} for note in found["notes"]]
    return Prediction.model_validate(found)
