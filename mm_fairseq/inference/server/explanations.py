"""The route that explains an answer."""

import base64
import io
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request

from ..clips import Inputs
from ..explain import Explanation, explain
from ..figures import THEMES, draw
from .asked import FIELDS, FILES, choice
from .predictions import REFUSALS, office_of, prediction
from .schemas import Explained, form
from .uploads import Form
from .work import SharedModel

router = APIRouter()
PICTURES = {"png": "image/png", "svg": "image/svg+xml", "none": ""}
OPTIONS = {
    **{name: told for name, told in FIELDS.items() if name != "top_k"},
    "target": "string: which target is explained; the first by default",
    "theme": f"string: of the picture: {' or '.join(THEMES)}; light by default",
    "picture": f"string: {', '.join(PICTURES)}; png by default",
}


@router.post("/api/explain", responses=REFUSALS, openapi_extra=form(OPTIONS, FILES))
async def explained(request: Request) -> Explained:
    """Answer for one clip, with attention over time and the effect of leaving out each modality."""

    def then(sent: Form) -> Callable[[SharedModel, Inputs], Any]:
        target, theme = choice(sent, "target", office_of(request).model.kinds), choice(sent, "theme", THEMES)
        kind = choice(sent, "picture", PICTURES)

        def run(model: SharedModel, inputs: Inputs) -> Any:
            with model.turn:
                found = explain(model, inputs, target)
            return found, lambda: _picture(found, inputs, theme or "light", kind or "png")

        return run

    def after(result: tuple[Explanation, Callable[[], str | None]]) -> tuple[Explanation, str | None]:
        return result[0], result[1]()

    sent, (found, picture) = await office_of(request).answer(request, then, after, OPTIONS)
    told = found.to_json()
    del told["answer"]
    return Explained(answer=prediction(sent, found.answer), explanation=told, picture=picture)


def _picture(found: Explanation, inputs: Inputs, theme: str, kind: str) -> str | None:
    """A data URL."""
    if kind == "none":
        return None
    file = io.BytesIO()
    draw(found, inputs, file, theme, kind)
    return f"data:{PICTURES[kind]};base64,{base64.b64encode(file.getvalue()).decode()}"
