"""Words as written, found again in the symbols of a tokeniser."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import regex

# A word ends where white space begins; in scripts that have none between words, each character is one.
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_WORD = regex.compile(rf"{_UNSPACED}\p{{M}}*|(?:(?!{_UNSPACED})\S)+")


class Word(NamedTuple):
    """A word, or several that the tokeniser did not keep apart: its symbols are those from `first` to before `end`."""

    text: str
    first: int
    end: int


def words_of(text: str, encode: Callable[[str], Sequence[str]], most: int) -> tuple[list[Word], int]:
    """The words of a text and their symbols.

    Where a word ends is known by the symbols of the text up to there: they are those that the whole text begins with.
    Words for which that does not hold are taken together with the next.

    Args:
        text: as written.
        encode: of a tokeniser, text to symbols.
        most: symbols that are wanted, the first ones; words behind them are left out.

    Returns:
        The words, and how many are left out.
    """
    symbols = list(encode(text))
    found: list[Word] = []
    start = first = left = 0
    ends = [match.end() for match in _WORD.finditer(text)]
    for number, end in enumerate(ends):
        if first >= min(most, len(symbols)):
            left = len(ends) - number
            break
        begun = list(encode(text[:end])) if end != ends[-1] else symbols
        if len(begun) > first and begun == symbols[: len(begun)]:
            found.append(Word(text[start:end].strip(), first, min(most, len(begun))))
            start, first = end, len(begun)
    return found, left
