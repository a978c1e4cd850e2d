"""Multimodal emotion, sentiment, intent and event prediction for fairseq: `--user-dir mm_fairseq`.

A plain import registers the task, the criterion and the architectures.
"""

import logging
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .inference import EmotionModel as EmotionModel

__version__ = "0.1.0"

_level, _handlers = logging.root.level, list(logging.root.handlers)
try:
    _first = "fairseq" not in sys.modules
    import fairseq
except Exception as error:  # noqa: BLE001 - whatever ails fairseq, `doctor` must still run to say how to mend it
    warnings.warn(f"fairseq cannot be imported ({error}); `mm-fairseq doctor` says how to mend it", stacklevel=2)
else:
    del fairseq
    from . import fairseq_compat

    fairseq_compat.apply()
    from . import criterions, models, tasks  # noqa: F401 - registers them

    if _first:  # a module of fairseq has the root logger tell all at DEBUG; its commands set up their own before
        logging.root.setLevel(_level)
        logging.root.handlers[:] = _handlers


def __getattr__(name: str) -> Any:
    """`mm_fairseq.EmotionModel`, imported when it is asked for: trainings need none of it."""
    if name == "EmotionModel":
        from .inference import EmotionModel

        return EmotionModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
