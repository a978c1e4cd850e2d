"""The dictionary of a data-bin as fairseq's class."""

from pathlib import Path

from fairseq.data import Dictionary

from ..errors import MMFairseqError
from ..media.dictionary import read_dictionary


def load_dictionary(data_bin: Path) -> Dictionary:
    """That of `dict.txt`; of the special symbols alone where there is no such file.

    Raises:
        MMFairseqError: a line is damaged, or names a special symbol.
    """
    path = data_bin / "dict.txt"
    if not path.is_file():
        return Dictionary()
    read_dictionary(path)  # says where it is damaged
    try:
        return Dictionary.load(str(path))
    except (ValueError, RuntimeError) as error:
        raise MMFairseqError(f"{path}: {error}") from error
