"""G10: no eval, pickle, np.load with objects, yaml.load or shell=True in the package; no program of fairseq's unseen.

That every file keeps to it, and that each way around is found, is tested in `tests/test_layers.py`.
"""

import ast
from pathlib import Path

import fairseq
import fairseq_cli
import pytest
from fairseq.dataclass import FairseqDataclass
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from test_layers import BANNED_ATTRIBUTES, BANNED_CALLS, BANNED_MODULES, SOURCES, import_faults

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.untrusted import EVALUATED, check_options

EVALUATORS = {"eval", "eval_str_list", "eval_str_dict", "eval_bool"}
# Arguments that are no options of a checkpoint: of the evaluators themselves, of argparse, and lines of data files of
# unit language models.
OTHERS = {"x", "uf", "line.strip()"}


def test_the_list_of_bans_is_whole():
    assert {"eval", "exec"} <= BANNED_CALLS
    assert {"yaml.load", "os.system"} <= BANNED_ATTRIBUTES
    assert {"pickle", "marshal", "shelve", "dill"} <= BANNED_MODULES
    for source in ("import pickle", "from pickle import loads"):
        assert list(import_faults(ast.parse(source), SOURCES[0]))


def evaluated(package):
    """What a package hands to `eval`, as written: {expression: place}."""
    root = Path(package.__path__[0])
    for path in sorted(root.rglob("*.py")):
        if "examples" in path.relative_to(root).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                method = isinstance(node.func, ast.Attribute)
                name = node.func.attr if method else getattr(node.func, "id", "")
                if name in EVALUATORS and not (method and name == "eval"):
                    yield ast.unparse(node.args[0]), f"{path.relative_to(root)}:{node.lineno}"


@pytest.mark.parametrize("package", [fairseq, fairseq_cli], ids=lambda package: package.__name__)
def test_every_option_that_fairseq_evaluates_is_checked(package):
    found = dict(evaluated(package))
    assert found
    names = {text: text.rpartition(".")[2] for text in found if text not in OTHERS}
    names = {text: "model_overrides" if "model_overrides" in text else name for text, name in names.items()}
    assert {text: found[text] for text, name in names.items() if name not in EVALUATED} == {}


def dataclasses():
    yield from MODEL_DATACLASS_REGISTRY.items()
    yield from TASK_DATACLASS_REGISTRY.items()
    for registry in REGISTRIES.values():
        yield from registry["dataclass_registry"].items()


def test_the_defaults_of_fairseq_pass():
    seen = 0
    for name, kind in dataclasses():
        if kind is not None and issubclass(kind, FairseqDataclass):
            values = {each: getattr(kind, each, None) for each in kind.__dataclass_fields__}
            check_options({name: {key: value for key, value in values.items() if not callable(value)}})
            seen += 1
    assert seen > 60


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("adam_betas", "(0.9, 0.98)"),
        ("adam_betas", [0.9, 0.98]),
        ("conv_feature_layers", "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"),
        ("conv_aggregator_layers", "[(512, 2, 1)] * 9"),
        ("encoder_layers", "[(512, 3)] * 20"),
        ("encoder_layers", 12),
        ("decoder_attention", "True"),
        ("adaptive_softmax_cutoff", "10000,50000"),
        ("character_filters", "[(1, 64), (2, 128)]"),
        ("wer_args", "('kenlm.bin', 'lexicon.txt', 2, -1)"),
        ("feature_encoder_spec", "${model.conv_feature_layers}"),
        ("xformers_att_config", "{'name': 'scaled_dot_product'}"),
        ("pipeline_balance", None),
    ],
)
def test_what_fairseq_and_its_recipes_write_passes(name, value):
    check_options({"model": {name: value}}, outside=True)


def test_overrides_of_ones_own_command_may_hold_lists():
    given = "{'modalities': ['audio', 'text'], 'model': {'dropout': 0.1}}"
    check_options({"common_eval": {"model_overrides": given}})
    with pytest.raises(MMFairseqError, match="a dictionary of numbers and texts"):
        check_options({"common_eval": {"model_overrides": given}}, outside=True)
    for program in ("{'a': open('x')}", "open('x')"):
        with pytest.raises(MMFairseqError, match="would run as a program"):
            check_options({"common_eval": {"model_overrides": program}})
