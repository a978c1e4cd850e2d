"""What the options of augmentation allow, and what they must have something to act on."""

import pytest
from task_factory import SMALL, around, model_cfg, task_of

from mm_fairseq import fairseq_compat
from mm_fairseq.errors import MMFairseqError
from mm_fairseq.tasks import _augment


def loaded(data, modalities, model=None, **options):
    task = task_of(data, modalities=modalities, **options)
    task.build_model(model_cfg(**(model or {})))
    task.load_dataset("train")


WRONG = {
    "speed_factors": (("0", "0.9,x", "3"), r"is not a number from 0.5 to 2"),
    "gain_db": ((-1.0, 61.0, float("nan")), r"dB, from 0 to 60"),
    "noise_snr": (("x", "100", "nan"), r"is not a number from -30 to 60"),
    "room_rt60": (("0", "9", "-1"), r"is not a number from 0.01 to 5"),
    "time_masks": ((-1, 101), r"from 0 to 100"),
    "frame_drop": ((-0.1, 1.0), r"a probability, at least 0 and below 1"),
    "word_drop": ((1.0, float("nan")), r"a probability, at least 0 and below 1"),
    "flip_probability": ((-0.1, 1.1), r"from 0 to 1"),
    "mixup_alpha": ((-0.1, float("inf")), r"from 0 to 100"),
    "augment_probability": ((0.0, 1.1), r"a probability, above 0 and up to 1"),
}


PAIRS = [(option, value) for option, (values, _) in WRONG.items() for value in values]


@pytest.mark.parametrize(("option", "value"), PAIRS)
def test_a_value_out_of_range_is_named(every_kind, option, value):
    with pytest.raises(MMFairseqError, match=rf"{_augment.flag(option)} {value}: .*{WRONG[option][1]}"):
        task_of(every_kind, **{option: value})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise_colour": "pink"}, r"--noise-colour pink: has no effect without --noise-snr"),
        ({"noise_folder": "x"}, r"--noise-folder x: has no effect without --noise-snr"),
        ({"noise_snr": "5", "noise_folder": "nowhere"}, r"--noise-folder nowhere: no such folder"),
        ({"noise_snr": "5", "noise_folder": "x", "noise_colour": "pink"}, r"--noise-colour pink: that of"),
        ({"noise_snr": "5", "noise_colour": "blue"}, r"--noise-colour 'blue'; allowed: white, pink"),
        ({"noise_snr": "20,5"}, r"--noise-snr 20,5: one number, or the lower and the higher end"),
        ({"noise_snr": "1,2,3"}, r"--noise-snr 1,2,3: one number, or"),
        ({"time_mask_width": 0.1}, r"--time-mask-width 0.1: has no effect without --time-masks"),
        ({"channel_masks": 1}, r"--channel-masks 1: needs --channel-mask-width"),
        ({"word_drop": 0.1, "augment_probability": 0.5}, r"--augment-probability 0.5: has no effect without --gain-db"),
        ({"stress": "noise=10"}, r"--stress noise=10: for fairseq-validate; to train with noise give --noise-snr"),
    ],
)
def test_options_without_effect_are_refused(every_kind, options, words):
    with pytest.raises(MMFairseqError, match=words):
        task_of(every_kind, **options)


@pytest.mark.parametrize(
    ("modalities", "options", "words"),
    [
        ("text", {"noise_snr": "5"}, r"--noise-snr: this training has no audio, only text"),
        ("audio", {"word_drop": 0.1}, r"--word-drop: this training has no text, only audio"),
        ("audio,text", {"frame_drop": 0.1}, r"--frame-drop: this training has no video, only audio, text"),
        ("text", {"time_masks": 1, "time_mask_width": 0.1}, r"--time-masks: this training has no audio, only text"),
    ],
)
def test_a_modality_that_is_not_there(every_kind, modalities, options, words):
    with pytest.raises(MMFairseqError, match=words):
        loaded(every_kind, modalities=modalities, **options)


def test_masks_need_a_spectrum(every_kind, checkpoints):
    model = {"audio_backbone": f"wav2vec:{checkpoints}/wav2vec/wav2vec.pt"}
    options = {"modalities": "audio", "channel_masks": 1, "channel_mask_width": 0.2}
    with pytest.raises(MMFairseqError, match=r"--channel-masks masks spectra: for the audio backbones mfcc"):
        loaded(every_kind, model=model, **options)
    loaded(every_kind, model=SMALL | {"audio_backbone": "logmel:n_mels=8"}, **options)


def test_what_is_validated_on_is_not_changed(every_kind):
    told = around()
    told["dataset"]["valid_subset"] = "valid,train"
    with pytest.raises(MMFairseqError, match=r"--valid-subset train: --word-drop would change it"):
        task_of(every_kind, around=told, word_drop=0.1)
    task_of(every_kind, around=told)


def test_validation_refuses_what_is_for_training(every_kind, monkeypatch):
    monkeypatch.setattr(fairseq_compat, "overridden", {"path", "mixup_alpha"})
    with pytest.raises(MMFairseqError, match=r"--mixup-alpha is for training; fairseq-validate takes --stress"):
        task_of(every_kind, from_checkpoint=True, mixup_alpha=0.2)
    monkeypatch.setattr(fairseq_compat, "overridden", {"path"})
    task_of(every_kind, from_checkpoint=True, mixup_alpha=0.2)  # what the training was given
