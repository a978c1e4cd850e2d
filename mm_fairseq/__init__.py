"""Multimodal emotion, sentiment, intent and event prediction for fairseq: `--user-dir mm_fairseq`.

A plain import registers the task, the criterion and the architectures.
"""

import warnings

__version__ = "0.1.0"

try:
    import fairseq
except Exception as error:  # noqa: BLE001 - whatever ails fairseq, `doctor` must still run to say how to mend it
    warnings.warn(f"fairseq cannot be imported ({error}); `mm-fairseq doctor` says how to mend it", stacklevel=2)
else:
    del fairseq
    from . import fairseq_compat

    fairseq_compat.apply()
    from . import criterions, models, tasks  # noqa: F401 - registers them
