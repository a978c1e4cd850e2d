"""Entry points of torch.hub, `torch.hub.load(FOLDER_OF_THIS_FILE, "emotion_model", CHECKPOINT, source="local")`."""

from typing import Any

dependencies = [
    "torch",
    "torchaudio",
    "torchvision",
    "fairseq",
    "omegaconf",
    "numpy",
    "av",
    "cv2",
    "soxr",
    "safetensors",
]


def emotion_model(path: str, **options: Any) -> Any:
    """A trained model that answers for clips, an `mm_fairseq.inference.EmotionModel`.

    Args:
        path: a checkpoint of fairseq-train, the folder of a training, or a folder of `save_pretrained`.
        options: `checkpoint_file`, `device` and `max_seconds` of `EmotionModel.from_pretrained`.

    Raises:
        MMFairseqError: nothing of that is there, it is damaged, another package's, or not safe to load.
    """
    from mm_fairseq.inference import EmotionModel

    return EmotionModel.from_pretrained(path, **options)
