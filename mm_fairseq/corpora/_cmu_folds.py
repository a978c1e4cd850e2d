"""The standard folds of CMU-MOSEI and CMU-MOSI: lists of videos in a file that users give."""

import ast
import json
from pathlib import Path
from typing import Any

from ..errors import MMFairseqError, named
from .base import SPLIT_NAMES, SPLITS, read_text

VARIABLES = {f"standard_{split}_fold": split for split in SPLITS}


def read_folds(path: Path) -> dict[str, str]:
    """{video: split}.

    Args:
        path: the SDK's Python file (`cmu_mosei_std_folds.py`), of which only the lists `standard_train_fold` and so on
            are read and nothing is run; a JSON file `{"train": [...], "valid": [...], "test": [...]}`; or a folder with
            train.txt, valid.txt and test.txt, a video a line.

    Raises:
        MMFairseqError: it is none of these, a split is missing, or a video stands in two.
    """
    if path.is_dir():
        lists: dict[str, Any] = {
            split: [line.strip() for line in read_text(file).splitlines() if line.strip()]
            for split in SPLITS
            if (file := path / f"{split}.txt").is_file()
        }
    elif not path.is_file():
        raise MMFairseqError(f"{path}: no such file of folds")
    elif path.suffix == ".py":
        lists = _of_python(path)
    else:
        lists = _of_json(path)
    folds: dict[str, str] = {}
    for split in SPLITS:
        videos = lists.get(split)
        if not isinstance(videos, list | tuple) or not videos or not all(isinstance(each, str) for each in videos):
            raise MMFairseqError(f"{path}: no list of videos for {split}; it has {named(sorted(lists)) or 'none'}")
        for video in videos:
            if folds.setdefault(video, split) != split:
                raise MMFairseqError(f"{path}: video {video!r} stands in {folds[video]} and in {split}")
    return folds


def _of_python(path: Path) -> dict[str, Any]:
    try:
        statements = ast.parse(read_text(path)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise MMFairseqError(f"{path}: not Python: {error}") from None
    lists = {}
    for node in statements:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            try:
                if name in VARIABLES:
                    lists[VARIABLES[name]] = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):  # whose text would show an object's address
                raise MMFairseqError(f"{path}:{node.lineno}: {name} is no plain list of texts") from None
    return lists


def _of_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise MMFairseqError(f"{path}: neither a Python file of folds (.py) nor JSON: {error}") from None
    if not isinstance(content, dict):
        raise MMFairseqError(f'{path}: expected {{"train": [...], "valid": [...], "test": [...]}}')
    lists: dict[str, Any] = {}
    for name, videos in content.items():
        if (split := SPLIT_NAMES.get(name)) and lists.setdefault(split, videos) is not videos:
            raise MMFairseqError(f"{path}: {name!r} is a second list of {split}")
    return lists
