"""Toy sentences: one half of the words tells the pair, one slot the detail, the rest nothing."""

import numpy as np

from .cues import Cue

_PAIR = {1: ("good", "fine", "right", "easy"), -1: ("bad", "wrong", "broken", "hard")}
_DETAIL = {
    (1, -1): ("as usual", "as planned", "on schedule"),
    (1, 1): ("how wonderful", "I love it", "what a joy"),
    (-1, -1): ("I could cry", "I miss it so", "what a loss"),
    (-1, 1): ("I hate this", "how dare you", "what nonsense"),
}
_HIDDEN = ("you see", "I told them", "they said")
_OPENERS = ("Well", "Listen", "Okay", "So", "Look")
_THINGS = ("letter", "car", "party", "house", "job", "weather", "phone", "meeting", "dinner", "ticket")
_TEMPLATES = (
    "{opener}, the {thing} is {first} and the {other} is {second}, {detail}.",
    "{opener}, {detail}, the {thing} was {first}, really {second}.",
    "It was {first}, the {thing}, {second} like the {other}, {detail}!",
    "The {thing}? {opener}, {first}, and the {other} looks {second}, {detail}.",
)


def sentence(cue: Cue, rng: np.random.Generator) -> str:
    """An English sentence whose words show `cue`."""
    thing, other = rng.choice(_THINGS, 2, replace=False)
    first, second = rng.choice(_PAIR[cue.pair], 2, replace=False)
    detail = str(rng.choice(_DETAIL[cue.pair, cue.detail] if cue.detail else _HIDDEN))
    return str(rng.choice(_TEMPLATES)).format(
        opener=rng.choice(_OPENERS), thing=thing, other=other, first=first, second=second, detail=detail
    )


def every_word() -> list[str]:
    """A few hundred sentences that contain every word `sentence` can say, for training a tokenizer."""
    rng = np.random.default_rng(0)
    cues = [Cue(pair, detail) for pair in (-1, 1) for detail in (-1, 0, 1)]
    return [sentence(cue, rng) for _ in range(100) for cue in cues]
