"""The dictionary that numbers the symbols of a tokeniser, and texts as these numbers."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import MMFairseqError
from .text import Tokenizer, load_tokenizer

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")  # as fairseq numbers them: 0, 1, 2, 3
UNKNOWN = SPECIAL.index("<unk>")


def build_dictionary(tokenizer: Tokenizer, texts: Iterable[str]) -> str:
    """Lines `<symbol> <count>`, most frequent first, as fairseq's Dictionary reads them."""
    counts = Counter(symbol for text in texts for symbol in tokenizer.encode(text))
    usable = {symbol: count for symbol, count in counts.items() if symbol not in SPECIAL and len(symbol.split()) == 1}
    ordered = sorted(usable.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{symbol} {count}\n" for symbol, count in ordered)


def read_dictionary(path: Path) -> dict[str, int]:
    """Symbols and their numbers, as fairseq numbers them: the first line is 4.

    Raises:
        MMFairseqError: a line is not `<symbol> <count>`, or a symbol stands twice.
    """
    numbers: dict[str, int] = {}
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MMFairseqError(f"{path}: not UTF-8 text: {error}") from error
    for place, line in enumerate(content.removesuffix("\n").split("\n"), start=1):
        symbol, _, count = line.removesuffix(" #fairseq:overwrite").rpartition(" ")
        if not symbol or not count.isdecimal() or symbol in numbers:
            raise MMFairseqError(f"{path}:{place}: expected '<symbol> <count>', each symbol once; found {line[:80]!r}")
        numbers[symbol] = len(SPECIAL) + len(numbers)
    return numbers


class TokenIds:
    """Texts to the numbers of their symbols.

    Args:
        tokenizer: splits them.
        numbers: symbol to number.
    """

    def __init__(self, tokenizer: Tokenizer, numbers: Mapping[str, int]) -> None:
        self.tokenizer, self.numbers = tokenizer, numbers

    @classmethod
    def load(cls, spec: dict[str, Any], folder: Path) -> "TokenIds":
        """The tokeniser of a spec and the dict.txt, both in `folder`."""
        return cls(load_tokenizer(spec, folder), read_dictionary(folder / "dict.txt"))

    @classmethod
    def from_contents(cls, spec: dict[str, Any], contents: Mapping[str, bytes], symbols: Sequence[str]) -> "TokenIds":
        """The tokeniser of a spec from what its files hold.

        Args:
            spec: see `tokenizer_spec`.
            contents: of the files by their names.
            symbols: in the order of their numbers, `SPECIAL` first.

        Raises:
            MMFairseqError: as `load_tokenizer`.
        """
        with tempfile.TemporaryDirectory() as folder:
            for name in spec["files"]:
                if name in contents:
                    Path(folder, os.path.basename(name)).write_bytes(contents[name])
            tokenizer = load_tokenizer(spec, Path(folder))
        return cls(tokenizer, {symbol: number for number, symbol in enumerate(symbols) if number >= len(SPECIAL)})

    def __call__(self, text: str) -> np.ndarray:
        """Without beginning and end. Shape (T), int32."""
        return np.array([self.numbers.get(symbol, UNKNOWN) for symbol in self.tokenizer.encode(text)], np.int32)
