"""Train a byte-level BPE in GPT-2's file format: `encoder.json`, `vocab.bpe`, and fairseq's `dict.txt` of its ids."""

import json
from collections import Counter
from pathlib import Path

from fairseq.data.encoders.gpt2_bpe_utils import Encoder, get_encoder


def write_bpe(folder: Path, sentences: list[str], merges: int) -> None:
    """Learn `merges` pairs from `sentences` and write the three files.

    Ids are those of GPT-2: the 256 bytes, the merged symbols in the order of learning, `<|endoftext|>`. `dict.txt` has
    the ids as symbols, the most frequent first, with three made-up words at the end, as RoBERTa's does.
    """
    splitter = Encoder({}, [])
    words = Counter(
        tuple(splitter.byte_encoder[byte] for byte in word.encode())
        for line in sentences
        for word in splitter.pat.findall(line)
    )
    learned = _learn(dict(words), merges)
    symbols = [*splitter.byte_encoder.values(), *("".join(pair) for pair in learned), "<|endoftext|>"]
    vocabulary = {symbol: index for index, symbol in enumerate(symbols)}
    (folder / "encoder.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in learned)]
    (folder / "vocab.bpe").write_text("\n".join(lines) + "\n", encoding="utf-8")

    coder = get_encoder(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
    counts = Counter(range(len(symbols)))
    for line in sentences:
        counts.update(coder.encode(line))
    ranked = sorted(counts, key=lambda index: (-counts[index], index))
    entries = [f"{index} {counts[index] - 1}" for index in ranked]
    entries += [f"madeupword{index:04} 0" for index in range(3)]
    (folder / "dict.txt").write_text("\n".join(entries) + "\n", encoding="utf-8")


def _learn(words: dict[tuple[str, ...], int], merges: int) -> list[tuple[str, str]]:
    """The `merges` most frequent pairs, one after the other (Sennrich et al. 2016); fewer when no pair is left."""
    learned = []
    for _ in range(merges):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in zip(word, word[1:], strict=False):
                pairs[pair] += count
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        learned.append(best)
        merged: dict[tuple[str, ...], int] = {}
        for word, count in words.items():
            joined = _merge(word, best)
            merged[joined] = merged.get(joined, 0) + count
        words = merged
    return learned


def _merge(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    out: list[str] = []
    index = 0
    while index < len(word):
        if word[index : index + 2] == pair:
            out.append(word[index] + word[index + 1])
            index += 2
        else:
            out.append(word[index])
            index += 1
    return tuple(out)
