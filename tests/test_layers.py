"""The walls of the house, read off the syntax trees: who may import whom, and what nobody may do."""

import ast
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "mm_fairseq"
MAX_LINES = 400

# Folder or root module -> the siblings that it may import. An island sees root modules only.
CONTRACTS = {"errors", "atomic", "registry", "manifest", "targets"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "atomic": {"errors"},
    "pickles": {"errors"},
    "untrusted": {"errors", "pickles"},
    "checkpoints": {"errors", "atomic", "untrusted"},
    "registry": {"errors"},
    "manifest": {"errors", "atomic"},
    "metric_names": set(),
    "metrics": {"errors", "metric_names"},
    "resampling": {"errors"},
    "versions": set(),
    "tables": set(),
    "losses": set(),
    "kinds": {"errors", "registry", "metrics", "losses"},
    "targets": {"errors", "kinds"},
    "baselines": {"metrics", "targets"},
    "fairseq_compat": {"errors", "atomic", "checkpoints", "untrusted"},
    "corpora": CONTRACTS | {"pickles"},
    "media": CONTRACTS,
    "databin": CONTRACTS,
    "modules": {"errors", "registry"},
    "toy": CONTRACTS,
    "report": CONTRACTS | {"metrics", "resampling", "tables"},
    "preprocessing": CONTRACTS | {"versions", "baselines", "corpora", "media", "databin", "datasets", "backbones"},
    "datasets": CONTRACTS | {"databin", "media"},
    "backbones": {"errors", "untrusted", "registry", "modules", "fairseq_compat"},
    "models": {"errors", "registry", "targets", "backbones", "modules", "fairseq_compat"},
    "criterions": CONTRACTS | {"losses", "metrics", "fairseq_compat"},
    "tasks": CONTRACTS
    | {"checkpoints", "versions", "metrics", "baselines", "datasets", "databin", "backbones", "models"}
    | {"fairseq_compat", "untrusted"},
    "inference": CONTRACTS
    | {"metrics", "media", "databin", "datasets", "backbones", "modules", "models", "tasks", "fairseq_compat"}
    | {"checkpoints", "preprocessing", "untrusted", "tables", "versions"},
    "evaluation": {"errors", "atomic", "checkpoints", "versions", "tables", "metrics", "resampling"}
    | {"report", "databin", "backbones"},
    "__init__": {"fairseq_compat", "criterions", "models", "tasks", "inference"},
}
ALLOWED["cli"] = {*ALLOWED, "__init__"}
ALLOWED["__main__"] = {"cli"}

# Folder -> libraries that it must do without.
WITHOUT = {
    "corpora": {"torch", "fairseq"},
    "databin": {"fairseq"},
    "metric_names": {"torch", "fairseq"},
    "metrics": {"torch", "fairseq"},
    "baselines": {"torch", "fairseq"},
    "modules": {"fairseq"},
    "report": {"torch", "torchaudio", "torchvision", "fairseq"},
}
BANNED_CALLS = {"eval", "exec", "print"}
BANNED_ATTRIBUTES = {"sys.path", "yaml.load", "os.system"}
BANNED_MODULES = {"pickle", "cPickle", "dill", "shelve", "marshal"}
MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
MUTABLE_CALLS = {"list", "dict", "set"}

SOURCES = sorted(PACKAGE.rglob("*.py"))


def unit(path):
    """The folder directly below the package, or the root module."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def relative_target(node, path):
    """The unit that a relative import reaches, for each imported name."""
    package = path.relative_to(PACKAGE).parts[:-1]
    base = [*package[: len(package) - (node.level - 1)], *(node.module or "").split(".")]
    base = [part for part in base if part]
    if len(package) < node.level - 1:
        return ["outside the package"]
    if base:
        return [base[0]]
    units = {each.stem for each in PACKAGE.iterdir()}
    return [alias.name if alias.name in units else "__init__" for alias in node.names]


def import_faults(tree, path):
    own = unit(path)
    for node in ast.walk(tree):
        libraries = []
        if isinstance(node, ast.Import):
            libraries = [alias.name.split(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            for target in relative_target(node, path):
                if target != own and target not in ALLOWED[own]:
                    yield f"line {node.lineno}: {own} must not import {target}"
        elif isinstance(node, ast.ImportFrom):
            libraries = [node.module.split(".")[0]]
        for library in libraries:
            if library == "mm_fairseq":
                yield f"line {node.lineno}: import inside the package must be relative"
            if library in WITHOUT.get(own, ()):
                yield f"line {node.lineno}: {own} must do without {library}"
            if library in BANNED_MODULES:
                yield f"line {node.lineno}: {library} runs code from files"


def ban_faults(tree):
    for node in ast.walk(tree):
        fault = None
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in BANNED_CALLS:
                fault = f"{node.func.id}()"
            for keyword in node.keywords:
                if keyword.arg in ("shell", "allow_pickle") and getattr(keyword.value, "value", True) is not False:
                    fault = f"{keyword.arg}=True"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in BANNED_ATTRIBUTES:
            fault = ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names} & BANNED_ATTRIBUTES
            fault = "star import" if node.names[0].name == "*" else ", ".join(names)
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            fault = "bare except"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            defaults = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
            if any(
                isinstance(default, MUTABLE)
                or (isinstance(default, ast.Call) and getattr(default.func, "id", "") in MUTABLE_CALLS)
                for default in defaults
            ):
                fault = "mutable default"
        if fault:
            yield f"line {node.lineno}: {fault}"


def test_package_is_there():
    assert len(SOURCES) > 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_keeps_to_its_layer(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert unit(path) in ALLOWED, f"say in tests/test_layers.py what {unit(path)} may import"
    assert [*import_faults(tree, path), *ban_faults(tree)] == []


def test_imports_go_down_only():
    # Raises CycleError where two layers see each other.
    order = list(TopologicalSorter(ALLOWED).static_order())
    assert order.index("corpora") < order.index("preprocessing") < order.index("cli")


@pytest.mark.parametrize("island", ["corpora", "media", "databin", "modules", "toy", "report"])
def test_islands_see_no_folder(island):
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert not ALLOWED[island] & folders


def test_no_long_file():
    files = [path for folder in ("mm_fairseq", "tests", "examples") for path in (ROOT / folder).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("from ..media import audio", "databin/reader.py"),
        ("from .. import media", "databin/reader.py"),
        ("from ..tasks.emotion_prediction import x", "preprocessing/binarize.py"),
        ("from . import tasks", "manifest.py"),
        ("from ...elsewhere import x", "databin/reader.py"),
        ("import torch.nn", "report/tables.py"),
        ("from fairseq.data import Dictionary", "corpora/base.py"),
        ("import mm_fairseq.errors", "cli/toy.py"),
        ("def f():\n    import pickle", "media/text.py"),
    ],
)
def test_forbidden_imports_are_found(source, place):
    assert len(list(import_faults(ast.parse(source), PACKAGE / place))) == 1


@pytest.mark.parametrize(
    "source", ["from ..errors import x", "from .format import x", "import numpy", "from . import format"]
)
def test_allowed_imports_pass(source):
    assert list(import_faults(ast.parse(source), PACKAGE / "databin/reader.py")) == []


@pytest.mark.parametrize(
    "source",
    [
        "eval('1')",
        "exec('1')",
        "print(1)",
        "np.load('x', allow_pickle=True)",
        "np.load('x', allow_pickle=flag)",
        "yaml.load(file)",
        "from yaml import load",
        "subprocess.run('ls', shell=True)",
        "os.system('ls')",
        "try:\n    x\nexcept:\n    y",
        "from numpy import *",
        "def f(x=[]): ...",
        "def f(*, x=dict()): ...",
        "f = lambda x={}: x",
        "sys.path.insert(0, '.')",
        "from sys import path",
    ],
)
def test_bans_are_found(source):
    assert len(list(ban_faults(ast.parse(source)))) == 1


@pytest.mark.parametrize(
    "source", ["model.eval()", "yaml.safe_load(x)", "np.load(x, allow_pickle=False)", "def f(x=()): ..."]
)
def test_harmless_code_passes(source):
    assert list(ban_faults(ast.parse(source))) == []


def test_standard_library_names_are_not_shadowed():
    names = {path.stem for path in PACKAGE.glob("*.py")} & set(sys.stdlib_module_names)
    assert names == set()
