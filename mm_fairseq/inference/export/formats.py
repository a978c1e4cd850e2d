"""The formats: how a graph is written, and how the file is run again for the parity check."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ...errors import MMFairseqError
from .capture import first_lines, flattened, names_of
from .parts import Part, length_of

Run = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]]
_SYMBOLS = {torch.sym_max: max, torch.sym_min: min, torch.sym_not: torch.ops.aten.__not__}


class Format(NamedTuple):
    """A format.

    Attributes:
        suffix: of its files.
        write: a graph of a part to a file.
        open: a file of a part as a function of inputs and padding masks, by name.
        needs: what a program needs to run it.
    """

    suffix: str
    write: Callable[[ExportedProgram, Part, Path], None]
    open: Callable[[Path, Part], Run]
    needs: str


# torch-export


def _write_program(program: ExportedProgram, part: Part, path: Path) -> None:
    torch.export.save(program, path)


def _open_program(path: Path, part: Part) -> Run:
    # What was noted of sizes is that of the captured batch: one row, or one frame, is right all the same.
    return torch.export.load(path).module(check_guards=False)


# torchscript


def _write_script(program: ExportedProgram, part: Part, path: Path) -> None:
    with _quiet():
        torch.jit.script(_scriptable(program, part)).save(str(path))


def _scriptable(program: ExportedProgram, part: Part) -> fx.GraphModule:
    """The graph with the words of TorchScript, its inputs by name, its outputs as a tuple."""
    module: Any = program.module(check_guards=False)
    graph = module.graph
    graph.set_codegen(fx.graph.CodeGen())  # tensors one after the other instead of dictionaries
    graph.eliminate_dead_code()  # while it is still known which of its functions write into what they are given
    names = iter(names_of(part))
    for node in graph.nodes:
        if node.op == "placeholder":
            node.target = next(names)
        elif node.op == "call_function":
            node.target = _SYMBOLS.get(node.target, getattr(node.target, "overloadpacket", node.target))
    return fx.GraphModule(module, graph)


def _open_script(path: Path, part: Part) -> Run:
    with _quiet():
        module = torch.jit.load(str(path))

    def run(inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return dict(zip(part.outputs, module(*flattened(part, inputs, masks)), strict=True))

    return run


# onnx


def _write_onnx(program: ExportedProgram, part: Part, path: Path) -> None:
    try:
        from onnxscript import ir  # torch's exporter needs it, too
    except ImportError as error:
        raise MMFairseqError(f"--format onnx needs onnxscript: pip install 'mm-fairseq[export]' ({error})") from error
    with _quiet():
        made: Any = torch.onnx.export(program, dynamo=True, verbose=False)
        graph = made.model.graph
        _name_axes(graph, part, ir)
        for value, name in zip(graph.inputs, names_of(part), strict=True):
            value.name = name
        for value, name in zip(graph.outputs, part.outputs, strict=True):
            value.name = name
        made.save(str(path))


def _name_axes(graph: Any, part: Part, ir: Any) -> None:
    """Lengths by the names that config.json has for them."""
    names = {}
    for value, port in zip(graph.inputs, part.ports * 2, strict=True):
        for axis, name in zip(value.shape, ("batch", length_of(port))):
            if isinstance(axis, ir.SymbolicDim):
                names[axis.value] = name
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        if value.shape is not None:
            value.shape = ir.Shape(names.get(getattr(axis, "value", None), axis) for axis in value.shape)


def _open_onnx(path: Path, part: Part) -> Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise MMFairseqError(f"--format onnx needs onnxruntime: pip install 'mm-fairseq[export]' ({error})") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
        tensors = zip(names_of(part), flattened(part, inputs, masks), strict=True)
        # An input on which nothing depends is not one of the file.
        there = {each.name for each in session.get_inputs()}
        given = {name: x.contiguous().numpy() for name, x in tensors if name in there}
        found = session.run(list(part.outputs), given)
        return {name: torch.from_numpy(x) for name, x in zip(part.outputs, found, strict=True)}

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters tell of their own inside."""
    before = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


FORMATS = {
    "torchscript": Format(".ts", _write_script, _open_script, "torch, or libtorch in C++"),
    "onnx": Format(".onnx", _write_onnx, _open_onnx, "onnxruntime, or another runtime of ONNX"),
    "torch-export": Format(".pt2", _write_program, _open_program, "torch"),
}


def write(program: ExportedProgram, part: Part, path: Path, kind: str) -> None:
    """Write a graph in one of FORMATS.

    Raises:
        MMFairseqError: the format lacks something that the graph has, or a package is missing.
    """
    try:
        FORMATS[kind].write(program, part, path)
    except MMFairseqError:
        raise
    except Exception as error:  # the exporters' own kinds
        raise MMFairseqError(f"{part.name} cannot be written as {kind}: {first_lines(error)}") from error
