"""Configurations and pages under examples/: every key is one that its part has, every path that is named is there."""

import re
from pathlib import Path

import pytest
from fairseq.criterions import CRITERION_DATACLASS_REGISTRY
from fairseq.dataclass.configs import FairseqConfig
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.optim import OPTIMIZER_DATACLASS_REGISTRY
from fairseq.optim.lr_scheduler import LR_SCHEDULER_DATACLASS_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import mm_fairseq  # noqa: F401 - registers

ROOT = Path(__file__).parents[1]
CONFIGS = sorted((ROOT / "examples").rglob("*.yaml"))
PAGES = sorted((ROOT / "examples").rglob("*.md"))
REGISTRIES = {
    "task": TASK_DATACLASS_REGISTRY,
    "criterion": CRITERION_DATACLASS_REGISTRY,
    "model": MODEL_DATACLASS_REGISTRY,
    "optimizer": OPTIMIZER_DATACLASS_REGISTRY,
    "lr_scheduler": LR_SCHEDULER_DATACLASS_REGISTRY,
}


def merged(config):
    """Each section on top of its dataclass; what that one lacks, or has in another type, is an error."""
    for name, section in config.items():
        if name in REGISTRIES:
            options = {key: value for key, value in section.items() if key != "_name"}
            schema = REGISTRIES[name][section["_name"]]
        else:
            options, schema = section, FairseqConfig.__dataclass_fields__[name].type
        OmegaConf.merge(OmegaConf.structured(schema), options)


def told(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CONFIGS, ids=told)
def test_configuration_has_known_options_of_their_types(path):
    config = OmegaConf.to_container(OmegaConf.load(path))
    merged(config)
    assert set(REGISTRIES) <= config.keys()
    assert config["model"]["_name"] == path.stem
    assert f"--config-dir {path.parent.relative_to(ROOT)} --config-name {path.stem}" in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("model", "d_modell", 64), ("model", "d_model", "wide"), ("dataset", "batchsize", 4), ("optimizer", "beta", 0.9)],
)
def test_a_wrong_option_is_found(section, key, value):
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "examples/korean_vat/config/crossmodal_mult.yaml"))
    config[section][key] = value
    with pytest.raises(OmegaConfBaseException):
        merged(config)


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=told)
def test_files_that_a_page_names_are_there(path):
    text = path.read_text("utf-8")
    links = {link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link}
    scripts = set(re.findall(r"bash ((?:examples|data-bin-scripts)/[\w/]+\.sh)", text))
    missing = [link for link in links if link and not (path.parent / link).exists()]
    assert missing + [script for script in scripts if not (ROOT / script).is_file()] == []


def test_every_recipe_has_a_page_and_stands_in_the_readme():
    text = (ROOT / "README.md").read_text("utf-8")
    for script in sorted((ROOT / "examples").glob("*/run.sh")):
        folder = script.parent
        if folder.name != "demo":
            assert (folder / "README.md").is_file(), folder.name
            assert f"bash examples/{folder.name}/run.sh" in (folder / "README.md").read_text("utf-8")
            assert f"examples/{folder.name}/" in text, f"README.md does not lead to examples/{folder.name}"
