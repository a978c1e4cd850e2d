"""Every repair of fairseq, and that fairseq without it fails."""

import collections
import importlib.util
import io
import json
import logging
import math
import pickle
import subprocess
import sys
from argparse import Namespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
from fairseq import checkpoint_utils, meters
from fairseq.data import Dictionary
from fairseq.dataclass.configs import CheckpointConfig, DistributedTrainingConfig
from fairseq.distributed import utils as distributed_utils
from fairseq.logging import progress_bar
from fairseq.models import distributed_fairseq_model
from omegaconf import OmegaConf

from mm_fairseq import fairseq_compat
from mm_fairseq.errors import MMFairseqError

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="a repair for machines without a GPU")


def original(module):
    """A fresh copy of a module of fairseq, without repairs."""
    spec = importlib.util.spec_from_file_location(module.__name__, module.__file__)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


@pytest.fixture
def without_safe_globals():
    """Call it to load a file as torch does without the repair."""
    kept = torch.serialization.get_safe_globals()

    def load(content):
        torch.serialization.clear_safe_globals()
        try:
            return torch.load(io.BytesIO(content), weights_only=True)
        finally:
            torch.serialization.add_safe_globals(kept)

    return load


def saved(state, rename=()):
    """Bytes of a checkpoint in the form of torch < 1.6, with names of modules changed to what they once were."""
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    content = file.getvalue()
    for new, old in rename:
        assert new in content
        content = content.replace(new, old)
    return content


def meter():
    out = meters.AverageMeter(round=3)
    out.update(2.0, 3)
    return out


OLD_NUMPY = (b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
OLD_METERS = (b"cfairseq.logging.meters\n", b"cfairseq.meters\n")
STATES = {
    "options": (Namespace(arch="audio_cpc", lr=[0.1]), ()),
    "numpy scalar": (np.float64(1.5), ()),
    "numpy scalar of old": (np.float32(1.5), (OLD_NUMPY,)),
    "numpy array": (np.arange(3), ()),
    "numpy array of old": (np.arange(3.0), (OLD_NUMPY,)),
    "meter": (meter(), ()),
    "meter of old": (meter(), (OLD_METERS,)),
    "stopwatch of old": (meters.StopwatchMeter(), (OLD_METERS,)),
    "dictionary": (Dictionary(), ()),
    "defaultdict": (collections.defaultdict(dict), ()),
    "placeholder": (distributed_utils._TensorPlaceholder(0), ()),
    "cfg": (OmegaConf.create({"model": {"_name": "wav2vec", "layers": [1, 2.5, True, None, "x"]}}), ()),
}


@pytest.mark.parametrize(("value", "rename"), STATES.values(), ids=STATES)
def test_checkpoints_of_fairseq_load(value, rename, without_safe_globals):
    content = saved({"extra": value, "model": {"w": torch.ones(2)}}, rename)
    with pytest.raises(pickle.UnpicklingError, match=r"weights_only|Unsupported"):
        without_safe_globals(content)
    loaded = torch.load(io.BytesIO(content), weights_only=True)["extra"]
    assert type(loaded) is type(value)
    if isinstance(value, np.ndarray):
        assert np.array_equal(loaded, value)
    elif hasattr(value, "__dict__") and not OmegaConf.is_config(value):
        assert vars(loaded) == vars(value)
    else:
        assert loaded == value


class Foreign:
    """A type that no checkpoint needs."""


def test_other_types_stay_refused():
    with pytest.raises(pickle.UnpicklingError, match="Foreign"):
        torch.load(io.BytesIO(saved({"x": Foreign()})), weights_only=True)


def test_applying_twice_changes_nothing():
    before = distributed_utils.infer_init_method
    fairseq_compat.apply()
    assert distributed_utils.infer_init_method is before
    assert not hasattr(before.__wrapped__, "__wrapped__")


@pytest.fixture
def torchrun(monkeypatch):
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511", "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)


def config(world_size=1):
    return DistributedTrainingConfig(distributed_world_size=world_size, tpu=False)


@no_gpu
def test_torchrun_on_cpu_is_seen(torchrun):
    unrepaired = distributed_utils.infer_init_method.__wrapped__
    cfg = config()
    unrepaired(cfg)
    assert cfg.distributed_init_method is None  # every process would train alone
    with pytest.raises(ZeroDivisionError):
        unrepaired(config(world_size=2))
    distributed_utils.infer_init_method(cfg)
    found = cfg.distributed_init_method, cfg.distributed_world_size, cfg.distributed_rank, cfg.distributed_backend
    assert found == ("env://", 2, 1, "gloo")
    assert cfg.distributed_no_spawn
    assert cfg.device_id == 0


@no_gpu
def test_spawning_on_cpu_is_refused():
    with pytest.raises(AssertionError, match="0 available devices"):
        distributed_utils.infer_init_method.__wrapped__(config(world_size=2))
    with pytest.raises(MMFairseqError, match="torchrun --nproc_per_node 2"):
        distributed_utils.infer_init_method(config(world_size=2))
    single = config()
    distributed_utils.infer_init_method(single)
    assert single.distributed_init_method is None


@pytest.fixture
def process_group(tmp_path):
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def test_any_object_is_gathered(process_group, device):
    data = [{"_predictions": ["x" * 20000], "_emotion:confusion": torch.eye(2, device=device)}]
    unrepaired = original(distributed_utils).all_gather_list
    with pytest.raises((ValueError, RuntimeError, AssertionError, TypeError)):  # too long, or no CUDA
        unrepaired(data, group=process_group)
    (found,) = distributed_utils.all_gather_list(data, group=process_group)
    assert found[0]["_predictions"] == data[0]["_predictions"]
    assert torch.equal(found[0]["_emotion:confusion"], torch.eye(2))  # on the CPU


def test_ddp_takes_modules_on_the_cpu(process_group):
    module = torch.nn.Linear(2, 1)
    build = distributed_fairseq_model.DistributedDataParallel
    options = {"module": module, "device_ids": [0], "output_device": 0, "process_group": process_group}
    with pytest.raises(ValueError, match="device_ids"):
        build.__wrapped__(**options)
    assert build(**options)(torch.ones(1, 2)).shape == (1, 1)


@pytest.mark.parametrize("name", ["JsonProgressBar", "SimpleProgressBar"])
def test_counts_are_not_shown(name, caplog):
    stats = {"loss": 0.5, "_emotion:confusion": torch.eye(4)}

    def shown(module):
        caplog.clear()
        bar = getattr(module, name)([1, 2, 3], log_interval=1)
        bar.i, bar.size = 1, 3
        with caplog.at_level(logging.INFO):
            bar.log(dict(stats), step=1)
            bar.print(dict(stats))
        return caplog.text

    repaired = shown(progress_bar)
    assert "loss" in repaired
    assert "confusion" not in repaired
    try:
        unrepaired = shown(original(progress_bar))
    except TypeError:  # the JSON bar cannot even write a tensor
        assert name == "JsonProgressBar"
    else:
        assert "confusion" in unrepaired
    if name == "JsonProgressBar":
        assert json.loads(repaired.splitlines()[-1][repaired.splitlines()[-1].index("{") :])


@pytest.mark.parametrize(
    ("module", "fault", "plain"),
    [
        ("fairseq_cli.train", "MMFairseqError('a bad value')", True),
        ("fairseq_cli.train", "ValueError('a bug')", False),
        ("my_script", "MMFairseqError('a bad value')", False),
    ],
)
def test_commands_of_fairseq_say_what_is_wrong_without_a_traceback(module, fault, plain, capsys):
    try:
        exec(f"raise {fault}", {"__name__": module, "MMFairseqError": MMFairseqError})
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    said = capsys.readouterr().err.replace("[rank0]: ", "")  # torch adds it after init_process_group
    if plain:
        assert said == "error: a bad value\n"
    else:
        assert said.startswith("Traceback")


# What fairseq-validate logs


class Recorder:
    """A logger in the place of TensorBoard's."""

    def __init__(self, bar, folder):
        self.bar, self.folder, self.printed = bar, folder, []
        RECORDERS.append(self)

    def log(self, stats, tag=None, step=None):
        raise AssertionError("figures of a batch are not logged")

    def print(self, stats, tag=None, step=None):
        self.printed.append((stats, tag, step))


RECORDERS: list[Recorder] = []


@pytest.fixture
def validate(monkeypatch, tmp_path):
    """As `fairseq-validate` goes: load with the options that were given, then make a bar; returns the bar."""
    RECORDERS.clear()
    monkeypatch.setattr(progress_bar, "TensorboardProgressBarWrapper", Recorder)
    task = Namespace(state=Namespace(state_dict={"updates": 70}))
    load = fairseq_compat._remember_loggers(lambda *_: ([], None, task))
    monkeypatch.setattr(fairseq_compat, "_asked", {})

    def begin(build, **options):
        (tmp_path / "checkpoint.pt").touch()
        load([str(tmp_path / "checkpoint.pt")], options)
        return build([{}, {}], log_format="none", prefix="valid on 'test' subset")

    return begin


def test_the_final_test_is_logged_once(validate):
    bar = validate(progress_bar.progress_bar, tensorboard_logdir="board")
    assert len(list(bar)) == 2
    bar.log({"loss": 1.0}, step=0)
    bar.print({"wa": 0.5}, tag="test", step=1)
    assert [(each.folder, each.printed) for each in RECORDERS] == [("board", [({"wa": 0.5}, "test", 70)])]


def test_only_what_is_asked_for_is_logged(validate):
    validate(progress_bar.progress_bar).print({"wa": 0.5}, tag="test")
    assert RECORDERS == []


def test_fairseq_itself_logs_nothing(validate):
    validate(original(progress_bar).progress_bar, tensorboard_logdir="board").print({"wa": 0.5}, tag="test")
    assert RECORDERS == []


def test_training_bars_keep_their_own_loggers(validate):
    validate(progress_bar.progress_bar, tensorboard_logdir="board")
    RECORDERS.clear()
    progress_bar.progress_bar([{}], log_format="none", tensorboard_logdir="other")
    assert [each.folder for each in RECORDERS] == ["other"]


class Trainer:
    """What fairseq's `save_checkpoint` asks of a trainer; remembers the values of what it saved as the best."""

    data_parallel_rank, checkpoint_suffix, task = 0, "", None
    should_save_checkpoint_on_current_rank = True
    is_data_parallel_master = True

    def __init__(self):
        self.best = []

    def consolidate_optimizer(self):
        pass

    def get_num_updates(self):
        return 1

    def save_checkpoint(self, path, extra_state):
        if path.endswith("checkpoint_best.pt"):
            self.best.append(extra_state["val_loss"])


def kept_as_best(module, folder, values):
    cfg = CheckpointConfig(
        save_dir=str(folder),
        no_epoch_checkpoints=True,
        no_last_checkpoints=True,
        best_checkpoint_metric="corr",
        maximize_best_checkpoint_metric=True,
    )
    trainer = Trainer()
    epochs = Namespace(epoch=1, end_of_epoch=lambda: True, state_dict=dict)
    for value in values:
        module.save_checkpoint(cfg, trainer, epochs, value)
    return trainer.best


def test_an_undefined_metric_does_not_make_the_best_forgotten(tmp_path, monkeypatch, caplog):
    values = [math.nan, 0.5, math.nan, 0.3, 0.6, math.nan]
    monkeypatch.setattr(checkpoint_utils.save_checkpoint, "best", -1.0, raising=False)  # taken back afterwards
    assert kept_as_best(checkpoint_utils, tmp_path, values) == [0.5, 0.6]
    assert "--best-checkpoint-metric corr is not defined here" in caplog.text
    assert kept_as_best(original(checkpoint_utils), tmp_path, values) == [0.5, 0.3, 0.6]


@pytest.mark.parametrize(
    ("repair", "stops"), [(fairseq_compat._undefined_is_no_stop, False), (lambda stop: stop, True)]
)
def test_a_first_validation_without_a_value_does_not_stop_training(repair, stops):
    """Of fairseq itself, no value is better than a NaN: it stops, however good what comes next is."""
    cfg = Namespace(checkpoint=Namespace(patience=2, maximize_best_checkpoint_metric=True))
    stop = repair(original(importlib.import_module("fairseq_cli.train")).should_stop_early)
    assert any(stop(cfg, value) for value in (float("nan"), 0.2, 0.4)) is stops


def test_the_training_command_is_repaired():
    code = "import fairseq_cli.train as command, mm_fairseq; print(command.should_stop_early.__wrapped__.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "fairseq_cli.train"


def test_a_missing_checkpoint_is_named():
    load = fairseq_compat._remember_loggers(lambda *_: pytest.fail("loaded"))
    with pytest.raises(MMFairseqError, match=r"--path nowhere/best.pt: no such checkpoint"):
        load(["nowhere/best.pt"])


# Options of a validation


def test_backbones_keep_their_arguments_when_options_are_overwritten():
    overrides = {"path": "model.pt", "pad": 1, "seed": 3}

    def overwritten(overwrite):
        backbones = {"text": {"args": {"pad": 7}, "sha256": {"path": "ab"}}}
        cfg = OmegaConf.create({"common": {"seed": 1}, "model": {"_name": "ssl_fusion", "backbone_args": backbones}})
        overwrite(cfg, overrides)
        assert cfg.common.seed == 3
        return OmegaConf.to_container(cfg.model.backbone_args) == backbones

    assert overwritten(checkpoint_utils.overwrite_args_by_name)
    assert not overwritten(original(checkpoint_utils).overwrite_args_by_name)


@pytest.mark.parametrize("model", [None, {"_name": "wav2vec"}, Namespace(arch="roberta")])
def test_checkpoints_of_others_are_overwritten_as_before(model):
    cfg = OmegaConf.create({"common": {"seed": 1}, "model": model}, flags={"allow_objects": True})
    checkpoint_utils.overwrite_args_by_name(cfg, {"seed": 3})
    assert cfg.common.seed == 3
