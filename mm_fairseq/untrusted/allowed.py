"""What a checkpoint may hold: tensors, NumPy's numbers, plain values, and options as fairseq keeps them."""

import math
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError
from ..pickles import Grown, Made, Name
from .machine import MAPPINGS, STORAGE, Mapping
from .saved import ELEMENTS, Saved, Storage, read_saved, storage

SLACK = 2**24  # elements of a tensor that repeats those of its storage
MAX_AXES = 64
TORCH = "torch._utils._rebuild_"
_NODES = [f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean")]
_DATA = [  # classes that are filled with attributes and do nothing
    "argparse.Namespace",
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata"),
    *_NODES,
    *(f"fairseq.meters.{kind}Meter" for kind in ("Average", "Time", "Stopwatch")),
    "fairseq.data.dictionary.Dictionary",
    "fairseq.distributed.utils._TensorPlaceholder",
]
_WORDS = {  # named, never called
    "typing.Any",
    "numpy.ndarray",
    *(f"builtins.{kind}" for kind in ("dict", "list", "tuple", "int", "long", "float", "str", "unicode", "bool")),
    *(f"torch.{form}" for form in ELEMENTS),
    *(f"torch.cuda.{form}" for form in ELEMENTS),
    *("torch.storage.UntypedStorage", "torch.storage.TypedStorage"),
    *(f"torch.{kind}{bits}" for kind in ("int", "uint", "float", "complex") for bits in (8, 16, 32, 64, 128)),
    *("torch.bool", "torch.bfloat16", "torch.float8_e4m3fn", "torch.float8_e5m2"),
}
_FLAGS = (-1, -1, 0)  # of a NumPy type of numbers: its size and alignment are its own


class ForeignError(MMFairseqError):
    """A file names something that is no plain data; the message is that name."""


def check(path: Path) -> Saved:
    """See that `torch.load` makes nothing of a file but data, and no more of it than the file holds.

    Raises:
        ForeignError: it names something else.
        MMFairseqError: damaged, or sizes that are not those of its bytes; without the path.
    """
    saved = read_saved(path)
    for full in saved.names:
        if canonical(full) not in NAMES:
            module, _, name = canonical(full).rpartition(".")
            raise ForeignError(f"{IMPORT_MAPPING.get(module, module)}.{name}".removeprefix("builtins."))
    sizes: dict[str, int] = {}
    for made in saved.made:
        if made.name == STORAGE:
            _check_storage(storage(made), saved.storages, sizes)
            continue
        full = canonical(str(made.name))
        if full not in CALLS:
            raise ForeignError(f"a call of {full}")
        try:
            fits = CALLS[full](made) and (made.state is None or full in _FILLED)
        except MMFairseqError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise MMFairseqError(f"{full} in a form that is not known ({error})") from error
        if not fits:
            raise MMFairseqError(f"{full} of {shown(made)}, not in a form that torch, NumPy or fairseq write")
    if (total := sum(sizes.values())) > saved.room:
        raise MMFairseqError(f"tensors of {total} bytes are promised, {max(0, saved.room)} are there")
    return saved


def canonical(full: str) -> str:
    """A name as Python 3 and NumPy 2 have it."""
    for old, new in (("__builtin__.", "builtins."), ("numpy.core.", "numpy._core."), ("fairseq.logging.", "fairseq.")):
        if full.startswith(old):
            return new + full.removeprefix(old)
    return full


def shown(made: Made) -> str:
    """Arguments of a call, for messages."""
    return ", ".join(str(each) if isinstance(each, int | float | str) else type(each).__name__ for each in made.args)[
        :80
    ]


def tensor_of(made: Made) -> tuple[Storage, tuple[int, ...]] | None:
    """The storage and the shape of a tensor; None where a call makes none."""
    known = canonical(str(made.name)) in (f"{TORCH}tensor", f"{TORCH}tensor_v2", f"{TORCH}tensor_v3")
    if not known or len(made.args) < 4 or not isinstance(made.args[0], Made) or made.args[0].name != STORAGE:
        return None
    return storage(made.args[0]), _whole(made.args[2])


def _check_storage(found: Storage, there: dict[str, int] | None, sizes: dict[str, int]) -> None:
    held = found.nbytes if there is None else there.get(found.key, -1)
    if held != found.nbytes or sizes.setdefault(found.key, found.nbytes) != found.nbytes:
        known = sizes.get(found.key, held) if held == found.nbytes else held
        told = f"{known} bytes of it are there" if held >= 0 else "it is not there"
        raise MMFairseqError(f"storage {found.key[:40]!r} is promised with {found.nbytes} bytes; {told}")


def _whole(value: Any) -> tuple[int, ...]:
    """A tuple of whole numbers, or the `torch.Size` of one."""
    if isinstance(value, Made) and str(value.name) == "torch.Size":
        value = value.args[0]
    if (
        not isinstance(value, tuple)
        or len(value) > MAX_AXES
        or any(type(each) is not int or each < 0 for each in value)
    ):
        raise ValueError("a shape that is none")
    return value


def _tensor(made: Made) -> bool:
    found = tensor_of(made)
    if found is None:
        return False
    held, shape = found
    offset, strides, hooks = made.args[1], _whole(made.args[3]), made.args[5:6]
    if type(offset) is not int or offset < 0 or len(strides) != len(shape):
        return False
    if hooks and hooks[0] is not None and not (isinstance(hooks[0], Mapping) and not hooks[0]):
        return False
    numel = math.prod(shape)
    last = offset + sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
    if numel and (last >= held.numel or numel > max(held.numel, SLACK)):
        raise MMFairseqError(f"a tensor of shape {shape} in a storage of {held.numel} elements")
    return True


def _parameter(made: Made) -> bool:
    return isinstance(made.args[0], Made) and tensor_of(made.args[0]) is not None


def _attributes(made: Made) -> bool:
    return not made.args and (made.state is None or isinstance(made.state, dict))


def _mapping(made: Made) -> bool:
    if str(made.name) == "collections.defaultdict":
        return not made.args or (isinstance(made.args[0], Name) and len(made.args) == 1)
    return len(made.args) <= 1


def _bytes(made: Made) -> bool:
    """Python 3 writes bytes for Python 2 as a text of as many letters."""
    return len(made.args) == 2 and isinstance(made.args[0], str) and made.args[1] in ("latin1", "latin-1")


def _plain_numbers(made: Made) -> bool:
    return all(isinstance(each, int | float | str) for each in made.args) and len(made.args) <= 2


def _dtype(made: Made) -> bool:
    """Of numbers. With other sizes or flags than its own, NumPy would take bytes of the file for addresses."""
    name = made.args[0]
    if not isinstance(name, str) or name not in _NUMBERS or len(made.args) > 3:
        return False
    state = made.state
    if state is None:
        return True
    version, order, *nothing = state[:5]
    return version == 3 and order in ("<", ">", "|", "=") and nothing == [None] * 3 and tuple(state[5:8]) == _FLAGS


_NUMBERS = {
    f"{order}{kind}"
    for order in ("", "<", ">", "|", "=")
    for kind in ("b1", "i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8", "c8", "c16")
}


def _itemsize(dtype: Any) -> int:
    if not isinstance(dtype, Made) or str(dtype.name) != "numpy.dtype":
        raise TypeError("no type of NumPy")
    return int(dtype.args[0].lstrip("<>|=")[1:])


def _length(raw: Any) -> int:
    """Of bytes, in any of the forms that pickles have them."""
    if isinstance(raw, Made) and _bytes(raw):
        return len(raw.args[0])
    if not isinstance(raw, memoryview | bytes):
        raise TypeError("no bytes")
    return len(raw)


def _array(made: Made) -> bool:
    """`_reconstruct` makes an empty array, whose state has its shape, type and bytes."""
    kind, shape, _ = made.args
    if str(kind) != "numpy.ndarray" or shape != (0,):
        return False
    _, shape, dtype, fortran, raw = made.state
    return isinstance(fortran, bool) and math.prod(_whole(shape)) * _itemsize(dtype) == _length(raw)


def _scalar(made: Made) -> bool:
    dtype, raw = made.args
    return _itemsize(dtype) == _length(raw)


CALLS: dict[str, Callable[[Made], bool]] = {
    **{f"{TORCH}{kind}": _tensor for kind in ("tensor", "tensor_v2", "tensor_v3")},
    f"{TORCH}parameter": _parameter,
    f"{TORCH}parameter_with_state": _parameter,
    **dict.fromkeys(_DATA, _attributes),
    **dict.fromkeys(MAPPINGS, _mapping),
    "torch.Size": lambda made: bool(_whole(made.args[0]) or True),
    "torch.device": _plain_numbers,
    "builtins.complex": _plain_numbers,
    "builtins.set": lambda made: len(made.args) <= 1 and all(isinstance(each, Grown | tuple) for each in made.args),
    "builtins.bytearray": lambda made: not made.args or _length(made.args[0]) >= 0,
    "_codecs.encode": _bytes,
    "numpy.dtype": _dtype,
    "numpy._core.multiarray._reconstruct": _array,
    "numpy._core.multiarray.scalar": _scalar,
}
NAMES = {*CALLS, *_WORDS}
_FILLED = {*_DATA, *MAPPINGS, "numpy.dtype", "numpy._core.multiarray._reconstruct"}  # what a state is set on
