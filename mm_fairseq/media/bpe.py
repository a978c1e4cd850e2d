"""Learning byte pair encoding (Sennrich et al. 2016, https://aclanthology.org/P16-1162), in fastBPE's file of codes.

fastBPE's package applies codes and does not learn them; this is what its program does: words between white space, the
last letter of each with `</w>`, and again and again the most frequent pair of neighbours made one symbol. Equal counts
are decided by the alphabet, so that the same texts give the same codes.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import heapify, heappop, heappush

Pair = tuple[str, str]

END = "</w>"
LEAST = 2  # a pair that is seen once says nothing


def learn_codes(texts: Iterable[str], symbols: int) -> str:
    """Lines `<left> <right> <count>`, the first to be applied first.

    Args:
        texts: transcripts.
        symbols: letters, at the end of a word and elsewhere, and codes together; there may be fewer, and there are more
            where the letters alone are.
    """
    counted = Counter(word for text in texts for word in text.split())
    words = [([*word[:-1], word[-1] + END], count) for word, count in sorted(counted.items())]
    letters = {letter for word, _ in words for letter in word}
    pairs: Counter[Pair] = Counter()
    places: dict[Pair, set[int]] = defaultdict(set)
    for number, (word, count) in enumerate(words):
        for pair in zip(word, word[1:], strict=False):
            pairs[pair] += count
            places[pair].add(number)
    heap = [(-count, pair) for pair, count in pairs.items()]
    heapify(heap)
    codes: dict[str, str] = {}
    while heap and len(letters) + len(codes) < max(symbols, len(letters) + 1):
        count, pair = heappop(heap)
        if -count < LEAST:
            break
        if pairs[pair] != -count:  # an entry of before
            continue
        changed = Counter[Pair]()
        for number in sorted(places.pop(pair)):
            word, times = words[number]
            merged = _merge(word, pair)
            for sign, symbols_then in ((-times, word), (times, merged)):
                for neighbours in zip(symbols_then, symbols_then[1:], strict=False):
                    changed[neighbours] += sign
                    if sign > 0:
                        places[neighbours].add(number)
            words[number] = merged, times
        for neighbours, change in changed.items():
            if change:
                pairs[neighbours] += change
                heappush(heap, (-pairs[neighbours], neighbours))
        codes.setdefault("".join(pair), f"{pair[0]} {pair[1]} {-count}\n")  # fastBPE wants each symbol made in one way
    return "".join(codes.values())


def _merge(word: list[str], pair: Pair) -> list[str]:
    out: list[str] = []
    place = 0
    while place < len(word):
        found = tuple(word[place : place + 2]) == pair
        out.append("".join(pair) if found else word[place])
        place += 1 + found
    return out
