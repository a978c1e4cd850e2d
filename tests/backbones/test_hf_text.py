"""Text models from folders of Hugging Face, against the library itself."""

import json
import sys

import pytest
import torch
import transformers
from hf_folders import TEXT, WORDS, model, text_folder
from public_files import features, load

from mm_fairseq.backbones import BackboneSet, build, resolve
from mm_fairseq.errors import MMFairseqError


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    path = tmp_path_factory.mktemp("bert")
    text_folder(path, "bert")
    return path


@pytest.fixture
def copy(bert, tmp_path):
    """A folder of one's own, and its config."""
    for file in bert.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def upstream(path, text, layer=None):
    """What the library makes of a text with its own tokenizer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    net = transformers.AutoModel.from_pretrained(path).eval()
    with torch.no_grad():
        batch = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        out = net(**batch, output_hidden_states=True)
    return out.last_hidden_state if layer is None else out.hidden_states[layer]


def ids(path, text):
    """What the dataset gives for a text of a data-bin that was made with the tokenizer of `path`."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    return torch.tensor([[0, *(4 + number for number in tokenizer(text, add_special_tokens=False).input_ids), 2]])


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("name", TEXT)
def test_equals_upstream(name, binary, tmp_path):
    text_folder(tmp_path, name, binary=binary)
    text = "what do you want from me 나는 행복해요 nonsense"
    tokens, expected = ids(tmp_path, text), upstream(tmp_path, text)
    found = features(load("text", f"hf_text:{tmp_path}"), "text", tokens)
    assert found.shape == expected.shape
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TEXT)
def test_any_layer_equals_upstream(name, tmp_path):
    text_folder(tmp_path, name)
    tokens = ids(tmp_path, "what do you")
    for layer in (0, 1, 3, -2):
        expected = upstream(tmp_path, "what do you", layer)
        found = features(load("text", f"hf_text:{tmp_path},layer={layer}"), "text", tokens)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weighted = load("text", f"hf_text:{tmp_path},layer=weighted")
    expected = torch.stack([upstream(tmp_path, "what do you", layer) for layer in range(4)]).mean(0)
    torch.testing.assert_close(features(weighted, "text", tokens), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TEXT)
def test_padded_equals_alone(name, tmp_path):
    text_folder(tmp_path, name)
    backbones = load("text", f"hf_text:{tmp_path}")
    rows = [ids(tmp_path, "what do you want from me")[0], ids(tmp_path, "me ?")[0]]
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=1)
    mask = torch.arange(x.size(1)) >= torch.tensor([[len(row)] for row in rows])
    x[mask] = torch.tensor([9, 1, 5, 3])
    with torch.no_grad():
        out = backbones({"text": x}, {"text": mask})["text"]
    for row, tokens in enumerate(rows):
        alone = features(backbones, "text", tokens[None])[0]
        torch.testing.assert_close(out.x[row, : len(tokens)], alone, atol=1e-5, rtol=1e-5)
    assert (out.x[mask] == 0).all()


@pytest.mark.parametrize("name", TEXT)
def test_longest_text(name, tmp_path):
    text_folder(tmp_path, name)
    backbones = load("text", f"hf_text:{tmp_path}")
    longest = backbones.encoders["text"].max_input
    assert longest == 24
    assert features(backbones, "text", torch.full((1, longest), 9)).isfinite().all()


def test_weights_under_a_head(tmp_path):
    config = transformers.AutoConfig.for_model("roberta", **TEXT["roberta"], vocab_size=len(WORDS))
    text_folder(tmp_path, "roberta", transformers.RobertaForSequenceClassification(config).eval())
    tokens = ids(tmp_path, "what do you")
    found = features(load("text", f"hf_text:{tmp_path}"), "text", tokens)
    torch.testing.assert_close(found, upstream(tmp_path, "what do you"), atol=1e-5, rtol=1e-5)


def test_old_names_of_weights(bert, copy):
    state = transformers.AutoModel.from_pretrained(bert).state_dict()
    old = {
        f"bert.{k}".replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): v for k, v in state.items()
    }
    (copy / "model.safetensors").unlink()
    old["cls.predictions.bias"] = torch.zeros(3)
    torch.save(old, copy / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    tokens = ids(bert, "what do you")
    assert torch.equal(*(features(load("text", f"hf_text:{path}"), "text", tokens) for path in (bert, copy)))


def test_weights_in_half_precision_are_read_in_single(bert, copy):
    transformers.AutoModel.from_pretrained(bert).half().save_pretrained(copy)
    backbones = load("text", f"hf_text:{copy}")
    assert {weight.dtype for weight in backbones.parameters()} == {torch.float32}


def test_weights_in_several_files(bert, copy):
    (copy / "model.safetensors").unlink()
    transformers.AutoModel.from_pretrained(bert).save_pretrained(copy, max_shard_size="20KB")
    assert len(list(copy.glob("model-*.safetensors"))) > 1
    tokens = ids(bert, "what do you")
    assert torch.equal(*(features(load("text", f"hf_text:{path}"), "text", tokens) for path in (bert, copy)))
    next(copy.glob("model-*.safetensors")).unlink()
    with pytest.raises(MMFairseqError, match=r"index\.json: names 'model-0"):
        load("text", f"hf_text:{copy}")


def test_entry_is_plain_and_needs_no_folder(copy):
    found = resolve({"text": f"hf_text:{copy},layer=2"}, set(), {}).entries
    assert found == json.loads(json.dumps(found))
    args = found["text"]["args"]
    assert (args["vocabulary"], args["cls"], args["pad"], args["sep"], args["unk"]) == (4 + len(WORDS), 2, 0, 3, 1)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(
        json.dumps(config | {"_name_or_path": "/elsewhere", "transformers_version": "4.1", "torch_dtype": "float32"})
    )
    assert resolve({"text": f"hf_text:{copy},layer=2"}, set(), {}).entries == found
    for file in copy.iterdir():
        file.unlink()
    assert build(found["text"]).dim == 16


def test_layers_beyond_the_chosen_one_do_not_learn(bert):
    found = resolve({"text": f"hf_text:{bert},layer=2"}, {"text"}, {})
    backbones = BackboneSet(found.entries).train()
    assert len(backbones.encoders["text"].layers()) == 2
    out = backbones({"text": ids(bert, "what do you")}, {"text": torch.zeros(1, 5, dtype=torch.bool)})["text"].x
    out.sum().backward()
    idle = [name for name, weight in backbones.named_parameters() if weight.requires_grad and weight.grad is None]
    assert idle == []


def change(folder, **options):
    config = json.loads((folder / "config.json").read_text()) | options
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model_type": "t5"}, "model_type is 't5'; allowed here: bert, "),
        ({"model_type": "wav2vec2"}, "model_type is 'wav2vec2'"),
        ({"model_type": None}, "model_type is None"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map.*is not run"),
        ({"is_decoder": True}, "is_decoder is True"),
        ({"quantization_config": {"quant_method": "x"}}, "quantization_config"),
        ({"hidden_act": "__import__('os').system('true')"}, "hidden_act is"),
        ({"hidden_act": "no such"}, "no such"),
        ({"hidden_act": "${oc.env:HOME}"}, "hidden_act is"),
        ({"hidden_size": 10**12}, "hidden_size is 10{12}; allowed"),
        ({"hidden_size": 2**20}, "too small for the sizes"),
        (
            {"hidden_size": 32},
            r"safetensors: .* do not fit: embeddings\.LayerNorm\.bias is \(16,\), .* asks for \(32,\)",
        ),
        ({"hidden_size": "wide"}, r"config\.json: .*hidden_size"),
        ({"num_hidden_layers": 257}, "num_hidden_layers is 257"),
        ({"num_hidden_layers": 4}, "16 weights are missing: encoder.layer.3"),
        ({"num_attention_heads": 3}, r"config\.json: .*multiple"),
        ({"vocab_size": 5}, r"1 weights do not fit: embeddings\.word_embeddings\.weight is"),
        ({"num_hidden_layers": 2}, r"16 weights of the encoder that .*: encoder\.layer\.2\."),
        ({"max_position_embeddings": [[1]]}, "max_position_embeddings is"),
    ],
)
def test_configs_that_do_not_fit(copy, options, words):
    change(copy, **options)
    with pytest.raises(MMFairseqError, match=words) as error:
        load("text", f"hf_text:{copy}")
    assert str(copy) in str(error.value)


def test_folders_that_are_none(bert, copy):
    with pytest.raises(MMFairseqError, match=r"nowhere: not a folder"):
        load("text", f"hf_text:{copy}/nowhere")
    (copy / "config.json").unlink()
    with pytest.raises(MMFairseqError, match=r"no config\.json"):
        load("text", f"hf_text:{copy}")
    (copy / "config.json").write_text("{")
    with pytest.raises(MMFairseqError, match=r"config\.json: not readable as JSON"):
        load("text", f"hf_text:{copy}")
    (copy / "config.json").write_bytes((bert / "config.json").read_bytes())
    (copy / "model.safetensors").unlink()
    with pytest.raises(MMFairseqError, match="no weights in the folder"):
        load("text", f"hf_text:{copy}")
    (copy / "model.safetensors").write_bytes((bert / "model.safetensors").read_bytes()[:-1000])
    with pytest.raises(MMFairseqError, match=r"model\.safetensors: not readable"):
        load("text", f"hf_text:{copy}")
    (copy / "model.safetensors").write_bytes((bert / "model.safetensors").read_bytes())
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(MMFairseqError, match=r"adapter_config\.json"):
        load("text", f"hf_text:{copy}")


def test_a_folder_without_a_tokenizer(copy):
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink(missing_ok=True)
    with pytest.raises(MMFairseqError, match="no tokenizer in the folder"):
        load("text", f"hf_text:{copy}")


def test_a_missing_weight_is_an_error_but_the_pooler_is_not(copy):
    state = transformers.AutoModel.from_pretrained(copy).state_dict()
    (copy / "model.safetensors").unlink()
    torch.save({k: v for k, v in state.items() if not k.startswith("pooler")}, copy / "pytorch_model.bin")
    load("text", f"hf_text:{copy}")
    del state["encoder.layer.1.output.dense.bias"]
    torch.save(state, copy / "pytorch_model.bin")
    with pytest.raises(MMFairseqError, match=r"pytorch_model\.bin: 1 weights are missing: encoder\.layer\.1\.output"):
        load("text", f"hf_text:{copy}")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_foreign_code_is_not_run(copy):
    (copy / "model.safetensors").unlink()
    state = model("bert", TEXT["bert"]).state_dict()
    torch.save(state | {"trap": Trap(copy / "sprung")}, copy / "pytorch_model.bin")
    with pytest.raises(
        MMFairseqError, match=r"pytorch_model\.bin: not readable: it holds more .* \(getattr\)"
    ) as error:
        load("text", f"hf_text:{copy}")
    assert "--allow-unsafe-checkpoints does not apply" in str(error.value)
    assert "weights_only" not in str(error.value)
    assert not (copy / "sprung").exists()


def test_a_binary_that_is_none(copy):
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"hello world\n" * 9999)
    with pytest.raises(MMFairseqError, match=r"pytorch_model\.bin: not readable: no checkpoint: it begins"):
        load("text", f"hf_text:{copy}")


def test_what_public_files_of_deberta_hold_besides_is_left_out(tmp_path):
    state = {f"deberta.{key}": value for key, value in text_folder(tmp_path, "deberta-v2").state_dict().items()}
    extra = ("embeddings.position_embeddings.weight", "embeddings.word_embeddings._weight", "embeddings.position_ids")
    state |= {f"deberta.{key}": torch.zeros(2, 16) for key in extra} | {"mask_predictions.dense.bias": torch.zeros(2)}
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    load("text", f"hf_text:{tmp_path}")


def test_a_layer_too_many_under_a_head(tmp_path):
    config = transformers.AutoConfig.for_model("roberta", **TEXT["roberta"], vocab_size=len(WORDS))
    text_folder(tmp_path, "roberta", transformers.RobertaForMaskedLM(config).eval())
    load("text", f"hf_text:{tmp_path}")
    change(tmp_path, num_hidden_layers=2)
    with pytest.raises(MMFairseqError, match=r"16 weights of the encoder that .*: roberta\.encoder\.layer\.2\."):
        load("text", f"hf_text:{tmp_path}")


@pytest.mark.parametrize(
    "args", [{"cls": 99}, {"pad": -1}, {"vocabulary": 99}, {"layer": 4}, {"layer": "first"}, {"config": {}}]
)
def test_arguments_that_do_not_fit(bert, args):
    entry = resolve({"text": f"hf_text:{bert}"}, set(), {}).entries["text"]
    with pytest.raises(MMFairseqError, match="hf_text"):
        build({"name": "hf_text", "args": entry["args"] | args})


def test_without_the_package_the_extra_is_named(bert, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MMFairseqError, match=r"pip install 'mm-fairseq\[hf\]'"):
        load("text", f"hf_text:{bert}")
