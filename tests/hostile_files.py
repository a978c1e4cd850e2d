"""Files that somebody made to run code, to read or write elsewhere, or to take all memory; each with its own trick.

What they would run makes the file `owned` in the folder of the process.
"""

import builtins
import codecs
import functools
import importlib
import io
import json
import operator
import os
import pathlib
import pickle
import runpy
import shutil
import struct
import subprocess
import types
import zipfile
from argparse import Namespace
from fractions import Fraction

import av
import numpy as np
import torch

from mm_fairseq.untrusted import EVALUATED

PROGRAM = "open('owned', 'w')"
EVAL = "__import__('os').system('touch owned')"
TINY = {"model": {"w": torch.ones(2)}}


class Call:
    """Pickles as a call; `state` is set on what it gives."""

    def __init__(self, function, *args, state=None):
        self.parts = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.parts

    def __call__(self):
        """What is called by its pickle must look as if it could be."""


GADGETS = {
    "os.system": Call(os.system, "touch owned"),
    "subprocess.Popen": Call(subprocess.Popen, ["touch", "owned"]),
    "subprocess.check_output": Call(subprocess.check_output, ["touch", "owned"]),
    "eval": Call(eval, PROGRAM),
    "exec": Call(exec, PROGRAM),
    "open": Call(open, "owned", "w"),
    "compile": Call(compile, PROGRAM, "x", "eval"),
    "getattr": Call(getattr, "x", "__class__"),
    "__import__": Call(builtins.__import__, "antigravity"),
    "import_module": Call(importlib.import_module, "antigravity"),
    "run_path": Call(runpy.run_path, "owned.py"),
    "Path.touch": Call(pathlib.Path.touch, pathlib.Path("owned")),
    "mkdir": Call(os.mkdir, "owned"),
    "copyfile": Call(shutil.copyfile, "/etc/hostname", "owned"),
    "partial": Call(functools.partial, os.system, "touch owned"),
    "attrgetter": Call(operator.attrgetter, "system"),
    "methodcaller": Call(operator.methodcaller, "system", "touch owned"),
    "decode": Call(codecs.decode, "owned", "rot13"),
    "function": Call(types.SimpleNamespace),
    "np.load": Call(np.load, "owned.npy", None, True),
    "np.memmap": Call(np.memmap, "owned", "uint8", "w+", 0, (4,)),
    "torch.load": Call(torch.load, "owned.pt"),
    "torch.hub.load": Call(torch.hub.load, "owned/owned", "owned"),
    "result called": Call(Call(functools.partial, os.system), "touch owned"),
}
LIVE = ("os.system", "exec", "open", "Path.touch", "mkdir", "np.memmap")
# Pickles put together by hand: what no pickler writes. Protocol 2, as torch reads it.
RAW = {
    "thrown away": b"\x80\x02cos\nsystem\n(X\x0b\x00\x00\x00touch ownedtR0}.",
    "as a key": b"\x80\x02}cos\nsystem\n(X\x0b\x00\x00\x00touch ownedtRK\x01s.",
    "instance": b"\x80\x02(X\x0b\x00\x00\x00touch ownedios\nsystem\n.",
    "object": b"\x80\x02(cos\nsystem\nX\x0b\x00\x00\x00touch ownedo.",
    "name from the stack": b"\x80\x02X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93X\x0b\x00\x00\x00touch owned\x85R.",
    "posix": b"\x80\x02cposix\nsystem\nX\x0b\x00\x00\x00touch owned\x85R.",
    "of Python 2": b"\x80\x02c__builtin__\neval\nX\x12\x00\x00\x00open('owned', 'w')\x85R.",
    "dots in the name": b"\x80\x02cargparse\n_os.system\nX\x0b\x00\x00\x00touch owned\x85R.",
    "extension": b"\x80\x02\x82\x01.",
    "persistent program": b"\x80\x02(X\x06\x00\x00\x00modulecos\nsystem\nX\x01\x00\x00\x00aX\x01\x00\x00\x00btQ.",
    "state set twice": b"\x80\x02cargparse\nNamespace\n)\x81}b}X\x01\x00\x00\x00aK\x01sb.",
    "call of a class of words": b"\x80\x02cbuiltins\nstr\nK\x01\x85R.",
    "memory by number": b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x19\x85R.",
    "deep": b"\x80\x02" + b"]" * 100 + b"(" * 50_000 + b".",
    "cut": b"\x80\x02}X\x01\x00\x00\x00aX\xff\xff\xff\x7fabc",
}
# Small files that would be gigabytes and minutes.
_PAIRS = b"]q\0(" + b"".join(b"K%cK\x01\x86" % (n % 256) for n in range(50_000)) + b"e"
BOMBS = {
    "nothing, again and again": b"\x80\x02" + b"N0" * 2**22 + b"N.",
    "lists upon lists": b"\x80\x02" + b"]" * 2**22 + b".",
    "objects of nothing": b"\x80\x02ccollections\nOrderedDict\nq\0" + b"h\0)R0" * 2**21 + b"N.",
    "objects kept": b"\x80\x02](ccollections\nOrderedDict\nq\0" + b"h\0)R" * 2**20 + b"e.",
    "tuples in tuples": b"\x80\x02)" + b"\x85" * 2**22 + b".",
    "numbers on the stack": b"\x80\x02(" + b"K\x01" * 2**23 + b"t.",
    "one list made into many": b"\x80\x02"
    + _PAIRS
    + b"0ccollections\nOrderedDict\nq\1"
    + b"h\1h\0\x85R0" * 2**18
    + b"N.",
    "one long key again and again": b"\x80\x02(" + b"K\x01" * 2**19 + b"tq\0}" + b"h\0Ns" * 2**18 + b".",
}


def archive(path, pickled, records=(), compress=zipfile.ZIP_STORED, folder="archive"):
    """A zip archive as torch writes it, with any bytes for the pickle."""
    with zipfile.ZipFile(path, "w", compress) as out:
        for name, data in (("data.pkl", pickled), ("byteorder", b"little"), *records, ("version", b"3\n")):
            out.writestr(f"{folder}/{name}" if folder else name, data)
    return path


def with_tensor(numel=2, size="(K\x02", stride="(K\x01", offset=0, form="FloatStorage", build="_rebuild_tensor_v2"):
    """A pickle of {"w": tensor} with a storage of numel elements; sizes and strides as opcodes."""
    numbers = [pickle.dumps(number, 2)[2:-1] for number in (numel, offset)]
    head = b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n" + build.encode() + b"\n("
    kept = b"(X\x07\x00\x00\x00storagectorch\n" + form.encode() + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    rest = size.encode("latin1") + b"t" + stride.encode("latin1") + b"t"
    return head + kept + numbers[0] + b"tQ" + numbers[1] + rest + b"\x89ccollections\nOrderedDict\n)RtRs."


def forged_numpy(kind="O8", state=(3, "|", None, None, None, -1, -1, 0), shape=(1,), raw=b"A" * 8):
    """An array whose type says of itself what it is not."""
    dtype = Call(np.dtype, kind, False, True, state=state)
    array = Call(np._core.multiarray._reconstruct, np.ndarray, (0,), b"b", state=(1, shape, dtype, False, raw))
    return pickle.dumps({"a": array}, 2)


BIG = "(\x8a\x06\x00\x00\x00\x00\x00\x10"  # 2 ** 44 and a bit, as an opcode of a whole number
SIZES = {
    "storage larger than its bytes": lambda: (with_tensor(2**40), [("data/0", bytes(8))]),
    "storage that is not there": lambda: (with_tensor(), []),
    "tensor larger than its storage": lambda: (with_tensor(size=BIG, stride="(K\x01"), [("data/0", bytes(8))]),
    "tensor of one number again and again": lambda: (with_tensor(size=BIG, stride="(K\x00"), [("data/0", bytes(8))]),
    "negative size": lambda: (with_tensor(size="(J\xff\xff\xff\xff"), [("data/0", bytes(8))]),
    "offset beyond": lambda: (with_tensor(offset=2**40), [("data/0", bytes(8))]),
    "storage of no kind": lambda: (with_tensor(form="EvilStorage"), [("data/0", bytes(8))]),
    "sparse": lambda: (with_tensor(build="_rebuild_sparse_tensor"), [("data/0", bytes(8))]),
    "meta": lambda: (with_tensor(build="_rebuild_meta_tensor_no_storage"), [("data/0", bytes(8))]),
    "wrapper": lambda: (with_tensor(build="_rebuild_wrapper_subclass"), [("data/0", bytes(8))]),
    "numpy addresses": lambda: (forged_numpy(), []),
    "numpy fields": lambda: (forged_numpy("V8", (3, "|", None, ("a",), {"a": (np.dtype("i8"), 0)}, 8, 1, 0)), []),
    "numpy subarray": lambda: (forged_numpy("f8", (3, "<", (np.dtype("f8"), (2**40,)), None, None, -1, -1, 0)), []),
    "numpy size": lambda: (forged_numpy("f8", (3, "<", None, None, None, -1, -1, 0), (2**40,)), []),
    "numpy itemsize": lambda: (forged_numpy("f8", (3, "<", None, None, None, 2**30, 8, 0)), []),
}


def checkpoints(folder):
    """{trick: path} of files given as checkpoints: called, sized or packed as no honest one is."""
    out = {}

    def path(trick):
        out[trick] = folder / f"{len(out):03d}.pt"
        return out[trick]

    for name, gadget in GADGETS.items():
        torch.save({**TINY, "extra": gadget}, path(f"{name}, zip"))
        torch.save({**TINY, "extra": gadget}, path(f"{name}, legacy"), _use_new_zipfile_serialization=False)
    for name, raw in RAW.items():
        archive(path(name), raw)
    for name, raw in BOMBS.items():
        archive(path(name), raw)
    path("a bomb of old").write_bytes(_begin_of_old() + BOMBS["nothing, again and again"])
    for name, make in SIZES.items():
        archive(path(name), *make())
    plain = pickle.dumps({"a": 1}, 2)
    archive(path("zip bomb"), plain, [("data/0", bytes(2**26))], zipfile.ZIP_DEFLATED)
    archive(path("paths that lead out"), plain, [("../../owned", b"x")])
    archive(path("a program of torch"), plain, [("constants.pkl", plain), ("code/x.py", PROGRAM.encode())])
    archive(path("two of one name"), plain, [("DATA.PKL", RAW["posix"])])
    archive(path("two folders"), plain, [("x", b"")], folder="")
    file = archive(path("something in front"), plain)
    file.write_bytes(b"PK\x03\x04" + bytes(96) + file.read_bytes())
    file = archive(path("parts that overlap"), plain, [(f"data/{n}", bytes(2**16)) for n in range(4)])
    _overlap(file)
    _legacy(path("legacy storage larger than the file"), 2**40)
    path("an old tar").write_bytes(b"storages".ljust(257, b"\0") + b"ustar\x0000" + bytes(500))
    path("empty").write_bytes(b"")
    return out


def _begin_of_old():
    """Magic number, version and system, as before torch 1.6."""
    state = io.BytesIO()
    torch.save({}, state, _use_new_zipfile_serialization=False)
    state.seek(0)
    for _ in range(3):
        pickle.load(state)
    return state.getvalue()[: state.tell()]


def _overlap(path):
    """Let all entries of the list at the end begin at one place."""
    raw = bytearray(path.read_bytes())
    first, at = None, 0
    while (at := raw.find(b"PK\1\2", at)) >= 0:
        place = struct.unpack_from("<L", raw, at + 42)[0]
        first = place if b"data/" in raw[at + 46 : at + 70] and first is None else first
        if first is not None and b"data/" in raw[at + 46 : at + 70]:
            struct.pack_into("<L", raw, at + 42, first)
        at += 4
    path.write_bytes(raw)


def _legacy(path, numel):
    """A file as before torch 1.6 that promises `numel` elements and has two."""
    state = io.BytesIO()
    torch.save({"w": torch.ones(2)}, state, _use_new_zipfile_serialization=False)
    raw = state.getvalue()
    place = raw.index(b"cpu") + 3
    place = raw.index(b"K\x02", place)
    path.write_bytes(raw[:place] + pickle.dumps(numel, 2)[2:-1] + raw[place + 2 :])


def options(folder):
    """{trick: path} of checkpoints of trainings whose options are programs, or ask for what is elsewhere."""
    out = {}

    def save(trick, **state):
        out[trick] = folder / f"{len(out):03d}.pt"
        history = {"optimizer_history": [{"optimizer_name": "x", "lr_scheduler_state": {}, "num_updates": 0}]}
        torch.save({**TINY, **history, "extra_state": {"train_iterator": {"epoch": 1}}, **state}, out[trick])

    for name in EVALUATED:
        save(f"{name} in cfg", cfg={"model": {"_name": "wav2vec", name: EVAL}, "task": {}})
    for name in ("adam_betas", "conv_feature_layers", "encoder_layers", "pretrained"):
        save(f"{name} in args", args=Namespace(arch="wav2vec", task="audio_pretraining", **{name: f"[{EVAL}]"}))
    layers = "conv_feature_layers"
    save("bytes", cfg={"model": {layers: EVAL.encode()}})
    save("deep", cfg={"model": {"w2v_args": {"model": {layers: EVAL}}}})
    save("in a list", cfg={"optimizer": {"groups": [{"adam_betas": EVAL}]}})
    save("as another", cfg={"model": {layers: "${task.data}"}, "task": {"data": EVAL}})
    save("of the environment", cfg={"task": {"data": "${oc.env:HOME}"}})
    save("a comprehension", cfg={"model": {layers: "[(9, 9, 9) for _ in range(2)]"}})
    save("an endless number", cfg={"model": {layers: "[(1, 1, 1)] * 9 ** 9 ** 9"}})
    save("brackets", cfg={"model": {layers: "(" * 100_000}})
    save("too many layers", cfg={"model": {"encoder_layers": 10**9}})
    save("a Namespace in cfg", cfg={"model": Namespace(**{layers: EVAL})})
    return out


def folders(folder):
    """{trick: path} of folders of Hugging Face."""
    out = {}
    config = {"model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"intermediate_size": 8, "vocab_size": 9}

    def made(trick, weights=b"", name="pytorch_model.bin", **more):
        out[trick] = path = folder / f"{len(out):03d}"
        path.mkdir()
        (path / "config.json").write_text(json.dumps({**config, **more}))
        (path / name).write_bytes(weights)
        return path

    for gadget in ("os.system", "exec"):
        file = io.BytesIO()
        torch.save({"w": torch.ones(10_000), "x": GADGETS[gadget]}, file)
        made(f"{gadget} in weights", file.getvalue())
    lengths = {"header of 2 ** 60 bytes": 2**60, "header beyond the end": 10**6}
    for trick, length in lengths.items():
        made(trick, struct.pack("<Q", length) + b"{}" * 5000, "model.safetensors")
    for trick, end in {"numbers beyond the end": 2**50, "fewer numbers than the shape": 4}.items():
        head = json.dumps({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, end]}}).encode()
        made(trick, struct.pack("<Q", len(head)) + head + bytes(2**16), "model.safetensors")
    parts = {"weight_map": {"w": "../000/pytorch_model.bin"}}
    made("parts that lead out", json.dumps(parts).encode(), "pytorch_model.bin.index.json")
    path = made("code of its own", auto_map={"AutoModel": "evil.Model"})
    (path / "evil.py").write_text(PROGRAM)
    path = made("an adapter")
    (path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/"}))
    made("a model of terabytes", bytes(64), hidden_size=2**20)
    (made("brackets", b"") / "config.json").write_text("[" * 200_000)
    return out


def arrays(folder):
    """{trick: path} of files of NumPy."""
    out = {}
    header = "{{'descr': {}, 'fortran_order': False, 'shape': {}}}"

    def npy(kind, shape, size=0):
        head = header.format(kind, shape).encode().ljust(117) + b"\n"
        return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(size)

    def npz(trick, raw, change=lambda raw: raw, compress=zipfile.ZIP_STORED):
        out[trick] = folder / f"{len(out):03d}.npz"
        with zipfile.ZipFile(out[trick], "w", compress) as file:
            file.writestr("a.npy", raw)
        out[trick].write_bytes(change(bytearray(out[trick].read_bytes())))

    def at(place, value):
        """Put a byte into the header of the first part, and where the list at the end repeats it."""

        def change(raw):
            raw[place], raw[raw.index(b"PK\1\2") + place + 2] = value, value
            return raw

        return change

    def broken(raw):
        raw[70:90] = b"\xff" * 20
        return raw

    for trick, raw in {
        "numbers that are not there": npy("'<f4'", (8,)),
        "more numbers than there are": npy("'<f4'", (2**40,), 64),
        "fields in fields": npy("[" * 40 + "'<f4'" + "]" * 40, (1,), 64),
        "brackets in a type": npy("(" * 60 + ")" * 60, (1,), 64),
        "a size of a million": npy("'<f4'", "(" + "-" * 60 + "1,)", 64),
        "no header": b"\x93NUMPY\x01\x00\xff\xff",
        "a version to come": b"\x93NUMPY\x09\x00" + bytes(90),
        "signs without end": b"\x93NUMPY\x01\x00\x10\x27" + b"-" * 9999 + b"1",
        "brackets without end": b"\x93NUMPY\x01\x00\x10\x27" + b"(" * 10_000,
    }.items():
        out[trick] = folder / f"{len(out):03d}.npy"
        out[trick].write_bytes(raw)
        npz(f"{trick}, npz", raw)
    whole = npy("'<f4'", (512,), 2048)
    npz("packed in a way to come", whole, at(8, 97))
    npz("encrypted", whole, at(6, 1))
    for name in ("DEFLATED", "BZIP2", "LZMA"):
        npz(f"damaged {name}", whole, broken, getattr(zipfile, f"ZIP_{name}"))
    out["objects"] = folder / "objects.npy"
    np.save(out["objects"], np.array([GADGETS["os.system"]], object))
    return out


YAML = {
    "apply": "a: !!python/object/apply:os.system ['touch owned']",
    "new": "a: !!python/object/new:subprocess.Popen [['touch', 'owned']]",
    "module": "a: !!python/module:antigravity",
    "name": "a: !!python/name:os.system",
}


def write_picture(path, size, codec):
    """A film of one grey picture, which decodes to much more than it takes."""
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=25)
        track.width, track.height, track.pix_fmt = *size, "yuv420p"
        frame = av.VideoFrame(*size, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux(track.encode(frame))
        container.mux(track.encode())
    return path
