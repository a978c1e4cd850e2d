"""What the backbones of Hugging Face have in common: folders of this machine, read by `transformers`, never its hub.

A model is built from its config.json alone, by the library's own classes. Code that a folder brings along is refused.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from ..errors import MMFairseqError
from ..untrusted import ForeignError, check
from .base import chosen_states

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
POOLER = "pooler."
MAX_NUMBER, MAX_LAYERS, MAX_LIST = 2**24, 256, 64
MAX_JSON = 2**26  # bytes
_WORD = re.compile(r"[\w.|+ -]*")
# What a config.json may say besides the architecture.
_VOLATILE = {
    *("architectures", "attn_implementation", "chunk_size_feed_forward", "dtype", "finetuning_task"),
    *("gradient_checkpointing", "id2label", "label2id", "output_attentions", "output_hidden_states", "problem_type"),
    *("return_dict", "tie_word_embeddings", "tokenizer_class", "torch_dtype", "torchscript", "transformers_version"),
    *("use_cache", "name_or_path"),
}
# What public files hold beside the weights of the encoder and no encoder uses: numbers of positions in old ones; of
# DeBERTa embeddings for pretraining, and the positions of its decoder of masks where the encoder has none of its own.
_UNUSED = ("position_ids", "word_embeddings._weight", "embeddings.position_embeddings.weight")
# What would change the encoder into something else, and the values that leave it as it is.
_ONLY: dict[str, Any] = {
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "add_adapter": False,
    "auto_map": None,
    "quantization_config": None,
}


def library() -> Any:
    """The `transformers` package.

    Raises:
        MMFairseqError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MMFairseqError(
            f"backbones of Hugging Face need transformers: pip install 'mm-fairseq[hf]' ({error})"
        ) from error
    return transformers


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's progress bars and its tables of weights, which are checked here."""
    logging = library().utils.logging
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def read_json(path: Path) -> dict[str, Any]:
    """A file with one JSON object.

    Raises:
        MMFairseqError: it is none.
    """
    try:
        if (size := path.stat().st_size) > MAX_JSON:
            raise ValueError(f"{size} bytes; at most {MAX_JSON}")
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise MMFairseqError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise MMFairseqError(f"{path}: expected an object, found {type(content).__name__}")
    return content


def weight_files(path: Path) -> list[Path]:
    """The files of weights in a folder, in the order in which the library prefers them.

    Raises:
        MMFairseqError: there are none, or one of several parts is missing.
    """
    if not path.is_dir():
        raise MMFairseqError(f"{path}: not a folder; expected one with config.json and {WEIGHTS[0]}")
    main = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if main is None:
        raise MMFairseqError(f"{path}: no weights in the folder, neither {WEIGHTS[0]} nor {WEIGHTS[2]}")
    if main.suffix != ".json":
        return [main]
    parts = read_json(main).get("weight_map")
    names = sorted(set(map(str, parts.values()))) if isinstance(parts, dict) else []
    bad = [name for name in names if Path(name).name != name or not (path / name).is_file()]
    if bad or not names:
        raise MMFairseqError(f"{main}: names {bad[0] if bad else 'no file'!r}, expected files of its folder")
    return [main, *(path / name for name in names)]


def read_folder(path: Path, types: Sequence[str], **fixed: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config in plain types, without what is no part of the architecture, and the encoder's weights, all of them.

    Args:
        path: the folder.
        types: of model that are wanted.
        fixed: options of the config that are set whatever it says.

    Raises:
        MMFairseqError: not such a folder, of another type, a weight is missing, or a file is damaged.
    """
    files = weight_files(path)
    if not (path / "config.json").is_file():
        raise MMFairseqError(f"{path}: no config.json in the folder")
    if (path / "adapter_config.json").is_file():  # would lead the library to another model's folder
        raise MMFairseqError(f"{path}: adapters (adapter_config.json) are not read; merge them into the model first")
    where = path / "config.json"
    config = {**_checked(read_json(where), types, where), **fixed}
    try:
        with torch.device("meta"):
            wanted = build_net(config, types)
    except ValueError as error:
        raise MMFairseqError(f"{where}: {error}") from error
    if sum(weight.numel() for weight in wanted.parameters()) > sum(file.stat().st_size for file in files):
        raise MMFairseqError(f"{path}: {files[-1].name} is too small for the sizes in config.json: another model's?")
    for file in files:
        if file.suffix == ".bin":
            _check_bin(file)
    transformers = library()
    try:
        with quiet():
            net, report = transformers.AutoModel.from_pretrained(
                str(path),
                config=_config(config),
                dtype=torch.float32,
                weights_only=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # or the report would go to the log only
            )
    except Exception as error:
        raise MMFairseqError(f"{files[0]}: not readable: {_first_line(error)}") from error
    for key, found, wanted_shape in sorted(report["mismatched_keys"]):
        shapes = f"{key} is {tuple(found)}, config.json asks for {tuple(wanted_shape)}"
        raise MMFairseqError(f"{files[0]}: {len(report['mismatched_keys'])} weights do not fit: {shapes}")
    missing = sorted(key for key in report["missing_keys"] if not key.startswith(POOLER))
    if missing:
        raise MMFairseqError(f"{files[0]}: {len(missing)} weights are missing: {', '.join(missing[:4])}")
    surplus = sorted(key for key in report["unexpected_keys"] if _of_encoder(key, net))
    if surplus:
        told = f"{len(surplus)} weights of the encoder that config.json does not tell of: {', '.join(surplus[:4])}"
        raise MMFairseqError(f"{files[0]}: {told}")
    weights = {key: value for key, value in net.state_dict().items() if not key.startswith(POOLER)}
    return config, {f"net.{key}": value for key, value in weights.items()}


def _of_encoder(key: str, net: nn.Module) -> bool:
    """Whether a weight that the library did not use stands beside those of the encoder; heads stand elsewhere."""
    own = {name.partition(".")[0] for name in net.state_dict()} - {POOLER.rstrip(".")}
    bare = key.removeprefix(f"{net.base_model_prefix}.")
    return bare.partition(".")[0] in own and not bare.endswith(_UNUSED)


def _check_bin(file: Path) -> None:
    """See that a file of weights holds nothing but data.

    Raises:
        MMFairseqError: it does, or is damaged.
    """
    try:
        check(file)
    except ForeignError as error:
        raise MMFairseqError(
            f"{file}: not readable: it holds more than plain types ({error}); --allow-unsafe-checkpoints does not "
            "apply to folders of Hugging Face: convert the file to safetensors"
        ) from error
    except MMFairseqError as error:
        raise MMFairseqError(f"{file}: not readable: {error}") from error


def _checked(raw: Mapping[str, Any], types: Sequence[str], where: Path) -> dict[str, Any]:
    """The part of a config.json that says what the encoder is like, with the library's defaults."""
    kind = raw.get("model_type")
    if kind not in types:
        raise MMFairseqError(f"{where}: model_type is {repr(kind)[:80]}; allowed here: {', '.join(types)}")
    for name, value in _ONLY.items():
        if raw.get(name) not in (None, value):
            told = "code of the folder is not run" if name == "auto_map" else f"allowed is {value}"
            raise MMFairseqError(f"{where}: {name} is {repr(raw[name])[:80]}; {told}")
    kept = {name: value for name, value in raw.items() if _is_architecture(name, value)}
    for name, value in kept.items():
        _check_value(name, value, where)
    try:
        config = _config({**kept, "model_type": kind}).to_dict()
    except ValueError as error:
        raise MMFairseqError(f"{where}: {error}") from error
    config = {name: value for name, value in config.items() if _is_architecture(name, value)}
    return dict(sorted(json.loads(json.dumps(config)).items()))


def _is_architecture(name: str, value: Any) -> bool:
    return not (name in _VOLATILE or name in _ONLY or name.startswith("_") or isinstance(value, dict))


def _check_value(name: str, value: Any, where: Path) -> None:
    most = MAX_LAYERS if name in ("num_hidden_layers", "n_layers") else MAX_NUMBER
    for each in value if isinstance(value, list) else [value]:
        plain = each is None or isinstance(each, bool | int | float | str)
        too_big = isinstance(each, int | float) and not abs(each) <= most
        if not plain or too_big or (isinstance(each, str) and not _WORD.fullmatch(each)):
            raise MMFairseqError(f"{where}: {name} is {repr(value)[:80]}; allowed are numbers up to {most} and words")
    if isinstance(value, list) and len(value) > MAX_LIST:
        raise MMFairseqError(f"{where}: {name} is a list of {len(value)}; at most {MAX_LIST}")
    if isinstance(value, list) and any(isinstance(each, int) and each < 1 for each in value):
        raise MMFairseqError(f"{where}: {name} is {repr(value)[:80]}; each must be at least 1")


def _config(config: Mapping[str, Any]) -> Any:
    """The library's object.

    Raises:
        ValueError: a value is not allowed.
    """
    plain = {name: list(value) if OmegaConf.is_list(value) else value for name, value in config.items()}
    try:
        return library().AutoConfig.for_model(**plain)
    except MMFairseqError:
        raise
    except Exception as error:
        raise ValueError(_first_line(error)) from error


def build_net(config: Mapping[str, Any], types: Sequence[str]) -> nn.Module:
    """The encoder, without a pooler.

    Raises:
        ValueError: a value is not allowed.
    """
    if config.get("model_type") not in types:
        raise ValueError(f"model_type={config.get('model_type')!r}: allowed are {', '.join(types)}")
    made = _config(config)
    try:
        with quiet():
            net = library().AutoModel.from_config(made, trust_remote_code=False)
    except Exception as error:
        raise ValueError(f"{type(error).__name__}: {_first_line(error)}") from error
    if hasattr(net, "pooler"):
        net.pooler = None
    return net


class States:
    """Which hidden states of a model are given; layers beyond them do not learn.

    Args:
        net: model of the library.
        layers: its layers.
        layer: see `chosen_states`.
        norm: what stands between the last layer and the output, if anything does.

    Raises:
        ValueError: there is no such layer.
    """

    def __init__(self, net: nn.Module, layers: nn.ModuleList, layer: int | str, norm: nn.Module | None = None) -> None:
        self.chosen = chosen_states(layer, len(layers))
        self.all = len(layers)
        self.last_only = self.chosen == (self.all,)
        self.layers = list(layers[: max(self.chosen)])
        layers[max(self.chosen) :].requires_grad_(False)
        if norm is not None and max(self.chosen) < self.all:
            norm.requires_grad_(False)

    def of(self, out: Any) -> Tensor:
        """(B, T, states * C) of what the library's model returned."""
        if self.last_only:
            return out.last_hidden_state
        states = [*out.hidden_states[: self.all], out.last_hidden_state]
        return torch.cat([states[number] for number in self.chosen], dim=-1)


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (" ".join(lines[:2]) or repr(error))[:300]
