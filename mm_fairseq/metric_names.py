"""What metrics are called, what they mean, and which way is better."""

LOWER_IS_BETTER = frozenset({"loss", "mae", "ece"})
DESCRIPTIONS = {
    "loss": "mean loss of an utterance, in nats where it is a cross-entropy",
    "wa": "accuracy (weighted: every utterance counts the same)",
    "ua": "mean recall of the classes that occur (unweighted: every class counts the same)",
    "wf1": "F1, classes weighted by their utterances",
    "mf1": "F1, every class counts the same",
    "map": "average precision of ranking by the class's score, mean over the classes that occur",
    "auc": "area under the ROC curve of one class against the rest, mean over classes; 0.5 is chance",
    "ece": "expected calibration error in 15 bins: how far confidence is from the share that is right",
    "subset_acc": "share of utterances with exactly the right set of classes",
    "exact_match": "share of utterances that are right in every target of classes",
    "acc": "accuracy of one class's yes/no decisions",
    "f1": "F1 of one class's yes/no decisions, yes and no weighted by their utterances",
    "mae": "mean absolute error",
    "corr": "Pearson's correlation",
    "ccc": "concordance correlation (Lin 1989): as corr, less what mean and spread are off",
    "acc7": "accuracy in seven classes: rounded within [-3, 3]",
    "acc5": "accuracy in five classes: rounded within [-2, 2]",
    "acc3": "accuracy in three classes: rounded within [-1, 1]",
    "acc2_has0": "accuracy of negative against the rest (0 is not negative), all utterances",
    "acc2_non0": "accuracy of negative against positive, utterances that are not 0",
    "f1_has0": "weighted F1 of the decisions of acc2_has0",
    "f1_non0": "weighted F1 of the decisions of acc2_non0",
}


def describe(name: str) -> str:
    """What a metric means: the longest name in `DESCRIPTIONS` that starts it, and its class or target in brackets.

    Args:
        name: as in the log: "wa", "wa_emotion", "acc_happy", "f1_has0". Empty text for an unknown one.
    """
    if name in DESCRIPTIONS:
        return DESCRIPTIONS[name]
    known = max((each for each in DESCRIPTIONS if name.startswith(f"{each}_")), key=len, default="")
    return f"{DESCRIPTIONS[known]} ({name[len(known) + 1 :]})" if known else ""


def log_name(metric: str, target: str, several: bool) -> str:
    """How the log calls a metric: with the target's name where there are several targets."""
    return f"{metric}_{target}" if several else metric


def lower_is_better(name: str) -> bool:
    """Whether a metric, by its name in the log ("mae", "mae_sentiment"), is the better the lower it is."""
    return name.partition("_")[0] in LOWER_IS_BETTER
