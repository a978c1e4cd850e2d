"""Text: tokenisers behind one contract.

A tokeniser is kept in a data-bin as plain files and a small dict, its *spec*: `{"name", "files"}`.
"""

import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError
from ..registry import Registry
from .bpe import learn_codes

_MOST_WORDS, _LONGEST_WORD = 1 << 17, 64  # that are remembered


class Tokenizer(ABC):
    """Text to symbols. Subclasses name the files they need, in the order of `files`."""

    files: tuple[str, ...] = ()

    @abstractmethod
    def __init__(self, *paths: Path) -> None: ...

    @abstractmethod
    def encode(self, text: str) -> list[str]:
        """The symbols of a text, none of them with white space in it."""

    def dictionary(self) -> str | None:
        """Lines `<symbol> <count>` of every symbol, in the order of its own numbers; None where the texts decide."""
        return None


TOKENIZERS: Registry[type[Tokenizer]] = Registry("tokenizer")


class _Cache(dict[str, str]):
    """Words and their parts, as many as a language has; what strangers write must not fill the memory."""

    def __setitem__(self, word: str, parts: str) -> None:
        if len(self) < _MOST_WORDS and len(word) <= _LONGEST_WORD:
            super().__setitem__(word, parts)


@TOKENIZERS.register("gpt2")
class Gpt2(Tokenizer):
    """Byte-level BPE of GPT-2, as fairseq's RoBERTa has it; symbols are the numbers of `encoder.json`."""

    files = ("encoder.json", "vocab.bpe")

    def __init__(self, *paths: Path) -> None:
        from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

        self._bpe = get_encoder(*map(str, paths))
        self._bpe.cache = _Cache()

    def encode(self, text: str) -> list[str]:
        return [str(number) for number in self._bpe.encode(text)]


@TOKENIZERS.register("sentencepiece")
class SentencePiece(Tokenizer):
    """A sentencepiece model; symbols are its pieces."""

    files = ("text.model",)

    def __init__(self, *paths: Path) -> None:
        import sentencepiece

        self._model = sentencepiece.SentencePieceProcessor(model_proto=paths[0].read_bytes())

    def encode(self, text: str) -> list[str]:
        return self._model.encode(text, out_type=str)


@TOKENIZERS.register("fastbpe")
class FastBpe(Tokenizer):
    """fastBPE codes, with or without a vocabulary; symbols are subwords with `@@`."""

    files = ("text.codes", "text.vocab")

    def __init__(self, *paths: Path) -> None:
        import fastBPE

        self._bpe = fastBPE.fastBPE(*map(str, paths))

    def encode(self, text: str) -> list[str]:
        return self._bpe.apply([" ".join(text.split())])[0].split()


@TOKENIZERS.register("words")
class Words(Tokenizer):
    """Words in lower case, and every punctuation mark by itself; needs no file.

    A word is a run of letters and digits of any script, with apostrophes inside (`don't`). Case says where a sentence
    begins and little else; kept, it would make an unknown word of a known one.
    """

    def __init__(self, *paths: Path) -> None:
        """No file is read."""
        import regex  # knows marks, which belong to the letter before them

        self._symbol = regex.compile(r"[\w\p{M}]+(?:'[\w\p{M}]+)*|[^\w\s\p{M}]")

    def encode(self, text: str) -> list[str]:
        return self._symbol.findall(unicodedata.normalize("NFC", text.casefold()).replace("\u2019", "'"))


@TOKENIZERS.register("chars")
class Characters(Tokenizer):
    """Every character, white space as one `|`, as in fairseq's dictionaries of letters; needs no file.

    For scripts without spaces between words, for corpora too small to learn pieces from, and where no character of
    train may become unknown. A `|` in a transcript and white space are one symbol. Case stays, accents are one with
    their letter where Unicode has such a character (NFC).
    """

    def __init__(self, *paths: Path) -> None:
        """No file is read."""

    def encode(self, text: str) -> list[str]:
        return list("|".join(unicodedata.normalize("NFC", text).split()))


@TOKENIZERS.register("hf")
class HuggingFace(Tokenizer):
    """A tokenizer of Hugging Face, without its [CLS] and [SEP]; symbols are its numbers, all of them, in order."""

    files = ("tokenizer.json",)

    def __init__(self, *paths: Path) -> None:
        try:
            import tokenizers
        except ImportError as error:
            raise _without_extra(error) from error
        try:
            self._model = tokenizers.Tokenizer.from_file(str(paths[0]))
        except Exception as error:
            raise ValueError(str(error)[:300]) from error

    def encode(self, text: str) -> list[str]:
        return [str(number) for number in self._model.encode(text, add_special_tokens=False).ids]

    def dictionary(self) -> str:
        size = max(self._model.get_vocab(with_added_tokens=True).values()) + 1
        return "".join(f"{number} 1\n" for number in range(size))


# What a folder of Hugging Face may keep a tokenizer in, and what else decides how it is read.
_HF_MAIN = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spm.model", "spiece.model")
_HF_OTHER = ("merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json", "config.json")


def _without_extra(error: ImportError) -> MMFairseqError:
    return MMFairseqError(f"--tokenizer hf: needs transformers: pip install 'mm-fairseq[hf]' ({error})")


def _hugging_face_json(folder: Path) -> bytes:
    """The tokenizer of a folder in one file, as the library reads it: the older kinds of folder lack tokenizer.json."""
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise _without_extra(error) from error
    try:
        found = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise MMFairseqError(f"{folder}: no usable tokenizer in the folder: {str(error)[:300]}") from error
    backend = getattr(found, "backend_tokenizer", None)
    if backend is None:
        raise MMFairseqError(f"{folder}: {type(found).__name__} has no tokenizer.json and cannot be turned into one")
    backend.no_padding()
    backend.no_truncation()
    return backend.to_str().encode()


def tokenizer_contents(text: str) -> list[bytes]:
    """What the files of the tokeniser that `--tokenizer` names hold in a data-bin; none of one that is to be trained.

    Raises:
        MMFairseqError: as `tokenizer_files`, or a folder cannot be read.
    """
    name, files, _ = tokenizer_files(text)
    return [_hugging_face_json(files[0].parent)] if name == "hf" else [path.read_bytes() for path in files]


_FORMS = "gpt2:DIR, hf:DIR, sentencepiece[:FILE], fastbpe[:CODES[,VOCAB]], words or chars"
_TRAINED = ("sentencepiece", "fastbpe")  # where no file is named
_PLAIN = ("words", "chars")  # no file at all


def tokenizer_files(text: str) -> tuple[str, list[Path], Path | None]:
    """Read what `--tokenizer` was given.

    Args:
        text: `gpt2:DIR`, `hf:DIR`, `sentencepiece:FILE`, `fastbpe:CODES[,VOCAB]`, `words`, `chars`; `sentencepiece` or
            `fastbpe`, which are to be trained.

    Returns:
        The name, its files (none: to be trained, or not needed), and the dictionary that comes with them.

    Raises:
        MMFairseqError: not one of these, or a file is missing.
    """
    name, _, rest = text.partition(":")
    TOKENIZERS.get(name)
    if name in _PLAIN and rest:
        raise MMFairseqError(f"tokenizer {text!r}: {name} takes no file; expected {_FORMS}")
    if name in _PLAIN or (name in _TRAINED and not rest):
        return name, [], None
    if not rest:
        raise MMFairseqError(f"tokenizer {text!r}: expected {_FORMS}")
    if name == "gpt2":
        files = [Path(rest) / file for file in Gpt2.files]
        dictionary = Path(rest) / "dict.txt"
    elif name == "hf":
        files = [Path(rest) / file for file in _HF_MAIN if (Path(rest) / file).is_file()]
        if not files:
            raise MMFairseqError(f"tokenizer {text!r}: the folder has none of {', '.join(_HF_MAIN)}")
        return name, files + [Path(rest) / file for file in _HF_OTHER if (Path(rest) / file).is_file()], None
    else:
        files = [Path(part) for part in rest.split(",")]
        dictionary = None
    if len(files) > len(TOKENIZERS.get(name).files):
        raise MMFairseqError(
            f"tokenizer {text!r}: {len(files)} files; at most {len(TOKENIZERS.get(name).files)} are read"
        )
    for path in [*files, *([dictionary] if dictionary else [])]:
        if not path.is_file():
            raise MMFairseqError(f"tokenizer {text!r}: no file {path}")
    return name, files, dictionary


def tokenizer_spec(text: str) -> dict[str, Any]:
    """What a data-bin remembers of the tokeniser that `--tokenizer` names: no path, but what its files hold.

    Returns:
        `{"name", "files", "sha256"}`; the sums only of files that are not made here.

    Raises:
        MMFairseqError: as `tokenizer_files`.
    """
    name, files, dictionary = tokenizer_files(text)
    sources = [*files, *([dictionary] if dictionary else [])]
    return {
        "name": name,
        "files": list(TOKENIZERS.get(name).files[: len(files) or 1]),
        "sha256": [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources],
    }


def load_tokenizer(spec: dict[str, Any], folder: Path) -> Tokenizer:
    """The tokeniser of a spec, from the files in `folder`.

    Raises:
        MMFairseqError: unknown, a file is missing or is not what it should be.
    """
    paths = [folder / file for file in spec["files"]]
    for path in paths:
        if not path.is_file():
            raise MMFairseqError(f"{path}: missing file of tokenizer {spec['name']!r}")
    try:
        return TOKENIZERS.get(spec["name"])(*paths)
    except (RuntimeError, OSError, ValueError, KeyError, IndexError) as error:
        raise MMFairseqError(f"tokenizer {spec['name']!r}: {', '.join(map(str, paths))}: {error}") from error


def train_tokenizer(name: str, texts: Iterable[str], vocab_size: int) -> bytes:
    """Train "sentencepiece" or "fastbpe".

    Args:
        name: which.
        texts: transcripts.
        vocab_size: pieces of a model, letters and codes of fastBPE; a small corpus gives fewer, one of many characters
            more.

    Returns:
        The bytes of its first file, the same for the same texts.

    Raises:
        MMFairseqError: there is no text.
    """
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise MMFairseqError(f"no text to train a {name} model on")
    if name == "fastbpe":
        return learn_codes(texts, vocab_size).encode()
    return train_sentencepiece(texts, vocab_size)


def train_sentencepiece(texts: Iterable[str], vocab_size: int) -> bytes:
    """Train a unigram model; a small corpus gets fewer pieces than `vocab_size`, one of many characters more.

    Every character of the texts is a piece: a word that they lack falls into these.

    Returns:
        The bytes of the model file, the same for the same texts.

    Raises:
        MMFairseqError: there is no text.
    """
    import sentencepiece

    texts = list(texts)
    characters = len(set().union(*map(set, texts))) if texts else 0
    if not characters:
        raise MMFairseqError("no text to train a sentencepiece model on")
    model = BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=max(vocab_size, characters + 100),
            hard_vocab_limit=False,
            character_coverage=1.0,
            max_sentence_length=max(4192, *(len(text.encode()) for text in texts)),  # longer ones would be left out
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise MMFairseqError(
            f"sentencepiece could not be trained on {len(texts)} texts: {error}; --tokenizer chars needs no training"
        ) from error
    return model.getvalue()
