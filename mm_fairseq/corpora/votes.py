"""Votes of annotators, as a manifest holds them: `neu=2|fru=0.5`, a class and a number each."""

from collections.abc import Iterable, Mapping, Sequence

from ..manifest import Utterance
from ..targets import SEPARATOR, Target


def votes_text(votes: Mapping[str, float]) -> str:
    """The field of a manifest, to six digits; "" where nobody voted."""
    return SEPARATOR.join(f"{label}={number:.6g}" for label, number in votes.items())


def shared(labels: Sequence[str]) -> dict[str, float]:
    """One vote, divided equally among all that an annotator named, or all that are level."""
    votes = dict.fromkeys(labels, 0.0)
    for label in labels:
        votes[label] += 1 / len(labels)
    return votes


def summed(ballots: Iterable[Mapping[str, float]], order: Iterable[str]) -> dict[str, float]:
    """All votes together, in the `order` of the classes; votes for anything else are dropped."""
    total = dict.fromkeys(order, 0.0)
    for ballot in ballots:
        for label in total.keys() & ballot.keys():
            total[label] += ballot[label]
    return {label: number for label, number in total.items() if number}


def vote_account(target: Target, rows: Sequence[Utterance]) -> dict[str, float]:
    """How many utterances have votes, and how many votes such an utterance has in the mean."""
    fields = list(filter(None, (row.labels.get(target.votes, "") for row in rows)))
    numbers = [float(part.rpartition("=")[2]) for field in fields for part in field.split(SEPARATOR)]
    return {"utterances": len(fields), "mean": round(sum(numbers) / len(fields), 6) if fields else 0.0}
