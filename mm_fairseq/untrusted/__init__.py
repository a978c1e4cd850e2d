"""Files of others: what they hold is read as data and checked before any library runs what it finds in them."""

from .allowed import ForeignError, check
from .evaluated import EVALUATED, check_options
from .loading import check_checkpoint, read_checkpoint, unsafe_allowed, unsafe_checkpoints
from .saved import BROKEN_ZIP, NO_CHECKPOINT, read_saved

__all__ = [
    "BROKEN_ZIP",
    "EVALUATED",
    "NO_CHECKPOINT",
    "ForeignError",
    "check",
    "check_checkpoint",
    "check_options",
    "read_checkpoint",
    "read_saved",
    "unsafe_allowed",
    "unsafe_checkpoints",
]
