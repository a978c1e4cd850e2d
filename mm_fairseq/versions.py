"""Versions of what is installed."""

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

NUMBERS = ("mm-fairseq", "fairseq-fixed", "torch", "numpy", "scikit-learn")
"""The packages that the figures of a training depend on."""


def installed(packages: Iterable[str] = NUMBERS) -> dict[str, str]:
    """Python's version and those of the `packages` that are installed."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
