"""What a file holds, told without running any of it: for people, and as plain values for JSON."""

import io
import json
import lzma
import math
import pickletools
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from ..errors import MMFairseqError
from ..pickles import Grown, Made, Name
from .allowed import NAMES, ForeignError, canonical, check, tensor_of
from .evaluated import check_options
from .machine import STORAGE, TorchMachine
from .saved import MAX_PICKLE, NO_CHECKPOINT, as_text, is_pickle, read_saved

MAX_TOLD = 200_000  # values; a file can refer to the same list again and again
MAX_TEXT = 4096
MAX_DEPTH = 40
MAX_JSON = 2**26  # bytes of a config.json
MAX_HEADER = 2**16  # bytes before the numbers of an npy file
LOADS, REFUSED, NO_LOADER = "loads as data", "refused", "nothing here loads such a file"
UNKNOWN = "its first bytes are those of no form that is known here: torch (zip archive or pickle), npy, npz"
NO_WEIGHTS = "no file of weights in this folder (*.safetensors, *.bin, *.pt)"


def describe(path: Path) -> dict[str, Any]:
    """A file or a folder of Hugging Face, in plain values.

    Returns:
        `path`, `type`, `bytes`, `verdict` (what a command here would make of it) and, where they are known,
        `globals` (name: plain or refused), `content` (keys, options; a tensor is "float32 (2, 3)") and `weights`.

    Raises:
        MMFairseqError: there is no such file.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise MMFairseqError(f"{path}: no such file or folder")
    about: dict[str, Any] = {"path": str(path), "type": "unknown", "bytes": path.stat().st_size}
    with open(path, "rb") as file:
        begin = file.read(16)
    if begin.startswith(b"\x93NUMPY"):
        return about | {"type": "numpy array (npy)"} | _told(lambda: _npy(path))
    if path.suffix == ".safetensors":
        return about | {"type": "safetensors"} | _told(lambda: _safetensors(path))
    if begin.startswith(b"PK"):
        members = _told(lambda: _npz(path))
        if members.get("weights"):
            return about | {"type": "numpy arrays (npz)"} | members
    elif begin and begin[:1] != b"\x80":
        return about | {"verdict": f"{REFUSED}: {UNKNOWN}; safetensors are known by their ending"}
    return about | _told(lambda: _pickled(path))


def _told(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read()
    except _BROKEN as error:
        return {"verdict": f"{REFUSED}: {str(error)[:MAX_TEXT] or type(error).__name__}"}


_BROKEN = (  # what zipfile, json and NumPy raise for files that they cannot read
    *(MMFairseqError, OSError, EOFError, MemoryError, RuntimeError),  # an encrypted part, brackets without end
    *(ValueError, TypeError, LookupError, ArithmeticError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError),
)


def _pickled(path: Path) -> dict[str, Any]:
    """A checkpoint of torch, or a bare pickle."""
    about: dict[str, Any] = {}
    try:
        saved = read_saved(path)
        about = {"type": saved.kind, "globals": _named(saved.names), **_content(saved.tree)}
        check(path)
        content = about["content"] if isinstance(about["content"], dict) else {}
        check_options({name: content.get(name) for name in ("args", "cfg")}, outside=True)
        return about | {"verdict": LOADS}
    except ForeignError as error:
        return about | {"verdict": f"{REFUSED}: more than plain types ({error})"}
    except MMFairseqError as error:
        about.setdefault("verdict", f"{REFUSED}: {error}")
        if about.get("type") or not is_pickle(path):
            return about | {"verdict": f"{REFUSED}: {error}"}
    with open(path, "rb") as file:
        raw = file.read(MAX_PICKLE)
    about = {"type": "pickle", "verdict": NO_LOADER}
    machine = TorchMachine(raw, "the pickle")
    try:
        return about | _content(machine.run()) | {"globals": _named([*machine.names])}
    except MMFairseqError as error:
        return about | {"globals": _named(names_of(raw)), "verdict": f"{NO_LOADER}; {error}"}


def names_of(raw: bytes) -> list[str]:
    """What a pickle names, as far as it can be read; a name from the stack is taken to be the last two texts."""
    found: dict[str, None] = {}
    texts: list[str] = []
    try:
        for code, argument, _ in islice(pickletools.genops(io.BytesIO(raw)), MAX_TOLD):
            if code.name in ("GLOBAL", "INST"):
                found[str(argument).replace(" ", ".", 1)] = None
            elif code.name == "STACK_GLOBAL":
                found[".".join(texts[-2:])] = None
            elif isinstance(argument, str):
                texts = [*texts[-1:], argument]
    except (ValueError, EOFError, IndexError):
        pass
    return [*found]


def _named(names: list[str]) -> dict[str, str]:
    return {name: "plain" if canonical(name) in NAMES else "refused" for name in sorted(names)}


def _content(tree: Any) -> dict[str, Any]:
    teller = _Teller()
    return {"content": teller.tell(tree), "weights": teller.weights}


class _Teller:
    """From the tree of a pickle to plain values; tensors by their full name in `weights`."""

    def __init__(self) -> None:
        self.left = MAX_TOLD
        self.weights: dict[str, str] = {}

    def tell(self, value: Any, name: str = "", depth: int = 0) -> Any:
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            return "..."
        if isinstance(value, Made):
            return self._made(value, name, depth)
        if isinstance(value, dict):
            inner = {key: as_key(key) for key in value}
            return {
                inner[key]: self.tell(each, f"{name}.{inner[key]}".lstrip("."), depth + 1)
                for key, each in value.items()
            }
        if isinstance(value, Grown):
            found = value.plain()
            value = found.tolist()[: max(0, self.left)] if isinstance(found, np.ndarray) else found
        if isinstance(value, list | tuple | set | frozenset):
            return [self.tell(each, f"{name}.{place}", depth + 1) for place, each in enumerate(value) if self.left > 0]
        if isinstance(value, memoryview):
            return f"{len(value)} bytes" if len(value) > MAX_TEXT else repr(bytes(value))
        if isinstance(value, str):
            return value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]}... ({len(value)} letters)"
        return value if value is None or isinstance(value, bool | int | float) else str(value)

    def _made(self, made: Made, name: str, depth: int) -> Any:
        try:
            found = tensor_of(made)
        except (MMFairseqError, ValueError, TypeError):
            found = None
        if found is not None:
            kind = found[0].form.removesuffix("Storage").lower()
            self.weights[name] = told = f"{_DTYPES.get(kind, kind)} {found[1]}"
            return told
        if str(made.name).startswith("torch._utils._rebuild_parameter") and made.args:
            return self.tell(made.args[0], name, depth + 1)
        if made.name == STORAGE:
            return f"storage {as_text(made.args[1]) if len(made.args) > 1 else ''}"
        if canonical(str(made.name)) == "numpy._core.multiarray._reconstruct" and isinstance(made.state, tuple):
            self.weights[name] = told = f"numpy array {made.state[1] if len(made.state) > 1 else ''}"
            return told
        if isinstance(made.state, dict) and (inner := _INSIDE.get(str(made.name))) is not None:
            return self.tell(made.state.get(inner) if inner else made.state, name, depth + 1)
        out: dict[str, Any] = {"made by": str(made.name)}
        if made.args:
            out["of"] = [self.tell(each, name, depth + 1) for each in made.args]
        if made.state is not None:
            out["set to"] = self.tell(made.state, name, depth + 1)
        return out


_INSIDE = {  # where options keep what they are: in all of their state, or under a name in it
    "argparse.Namespace": "",
    **dict.fromkeys(("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"), "_content"),
    **{f"omegaconf.nodes.{kind}Node": "_val" for kind in ("Any", "String", "Integer", "Float", "Boolean")},
}
_DTYPES = {
    "float": "float32",
    "half": "float16",
    "double": "float64",
    "long": "int64",
    "int": "int32",
    "short": "int16",
    "char": "int8",
    "byte": "uint8",
}


def as_key(key: Any) -> str:
    """A key of a dictionary, as text."""
    return as_text(key) or (str(key.name) if isinstance(key, Made | Name) else str(key)[:MAX_TEXT])


def _npy(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        told = _npy_header(io.BytesIO(file.read(MAX_HEADER)), path.stat().st_size)
    refused = f"{REFUSED}: it holds objects, which are pickles" if told.startswith("object") else LOADS
    return {"weights": {"": told}, "verdict": refused}


def _npy_header(file: Any, size: int) -> str:
    """The type and the shape of an array whose header and numbers are `size` bytes together."""
    version = npy.read_magic(file)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read is None:
        raise MMFairseqError(f"version {version} of the npy format")
    shape, _, dtype = read(file)
    held, wanted = size - file.tell(), math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and held < wanted:
        raise MMFairseqError(f"{wanted} bytes of numbers are promised, {held} are there")
    return f"{'object' if dtype.hasobject else dtype} {shape}"


def _npz(path: Path) -> dict[str, Any]:
    weights = {}
    with zipfile.ZipFile(path) as archive:
        for each in archive.infolist():
            if each.filename.endswith(".npy"):
                with archive.open(each) as file:
                    head = io.BytesIO(file.read(MAX_HEADER))
                weights[each.filename.removesuffix(".npy")] = _npy_header(head, each.file_size)
    objects = [name for name, told in weights.items() if told.startswith("object")]
    return {"weights": weights, "verdict": f"{REFUSED}: {objects[0]} holds objects, pickles" if objects else LOADS}


def _safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
            weights = {name: f"{each.get_dtype()} {tuple(each.get_shape())}" for name, each in slices.items()}
            return {"weights": weights, "content": {"metadata": file.metadata() or {}}, "verdict": LOADS}
    except SafetensorError as error:
        raise MMFairseqError(f"{NO_CHECKPOINT} ({error})") from error


def _folder(path: Path) -> dict[str, Any]:
    """A folder of Hugging Face: its config, and each file of weights."""
    about: dict[str, Any] = {"path": str(path), "type": "folder"}
    config = path / "config.json"
    if config.is_file() and config.stat().st_size <= MAX_JSON:
        about["type"] = "folder of Hugging Face"
        about |= _told(lambda: {"content": _Teller().tell(json.loads(config.read_bytes()))})
    parts = sorted(each for kind in ("*.safetensors", "*.bin", "*.pt") for each in path.glob(kind) if each.is_file())
    about["files"] = [describe(each) for each in parts]
    if code := sorted(each.name for each in path.glob("*.py")):
        about["code"] = code  # never run
    verdicts = [each["verdict"] for each in about["files"] if each["verdict"] != LOADS]
    about.setdefault("verdict", verdicts[0] if verdicts else LOADS if parts else NO_WEIGHTS)
    return about


def parameters(about: dict[str, Any]) -> int:
    """How many numbers the weights of a description are."""
    total = 0
    for told in about.get("weights", {}).values():
        shape = told.rpartition("(")[2].rstrip(")")
        total += math.prod(int(each) for each in shape.split(",") if each.strip())
    return total
