"""Tell what a checkpoint, a folder of Hugging Face, an npy or npz file holds, without running any of it.

Its form, the names that its pickles call, keys, shapes and options, and whether the commands here would load it; where
they would not, the exit status is 1.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from ..untrusted.description import LOADS, describe, parameters

WEIGHTS, OPTIONS = 40, 80  # lines, unless --all
FIRST = ("model", "task", "criterion", "optimizer")  # of the options of a training
INDENT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", nargs="+", metavar="FILE", type=Path, help="checkpoint, folder, npy or npz file")
    parser.add_argument("--json", action="store_true", help="everything, as one line of JSON a file")
    parser.add_argument(
        "--all", action="store_true", help=f"every weight and option, not the first {WEIGHTS} and {OPTIONS}"
    )


def run(args: argparse.Namespace) -> int:
    about = [describe(path) for path in args.file]
    for each in about:
        text = json.dumps(each) if args.json else "\n".join(_lines(each, args.all))
        # what stands in a file must not reach the terminal as commands to it
        sys.stdout.write("".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text) + "\n")
    return int(any(each["verdict"] != LOADS for each in about))


def _lines(about: dict[str, Any], everything: bool) -> list[str]:
    weights_most, most = (None, None) if everything else (WEIGHTS, OPTIONS)
    lines = [about["path"], f"  type     {about['type']}"]
    if "bytes" in about:
        lines.append(f"  bytes    {about['bytes']:,}")
    lines.append(f"  verdict  {about['verdict']}")
    if about.get("code"):
        lines.append(f"  code     {', '.join(about['code'])} (never run)")
    if about.get("globals"):
        lines += ["  names that its pickles call or refer to:"]
        lines += [f"    {'!' if how == 'refused' else ' '} {name}" for name, how in about["globals"].items()]
    if about.get("content") is not None:
        if isinstance(about["content"], dict):
            lines.append(f"  keys     {', '.join(about['content'])}"[:400])
        lines += ["  content:", *_cut(_options(about["content"], INDENT), most)]
    if about.get("weights"):
        weights = [f"    {name or '(array)'}  {told}" for name, told in about["weights"].items()]
        lines += [f"  {len(weights)} weights, {parameters(about):,} numbers:", *_cut(weights, weights_most)]
    for each in about.get("files", ()):
        lines += [f"  {line}" for line in _lines(each, everything)]
    return lines


def _cut(lines: list[str], most: int | None) -> list[str]:
    if most is None or len(lines) <= most:
        return lines
    return [*lines[:most], f"    ... {len(lines) - most} more (--all, --json)"]


def _options(value: Any, depth: int) -> list[str]:
    """Dictionaries as indented lines; what is in a list stands in one."""
    pad = " " * INDENT * depth
    if not isinstance(value, dict):
        return [f"{pad}{json.dumps(value)[:200]}"]
    lines = []
    for key, each in sorted(value.items(), key=lambda item: item[0] not in FIRST):
        if each is None and depth > INDENT:  # an option that is not set
            continue
        if isinstance(each, dict) and each and all(_is_weight(told) for told in each.values()):
            lines.append(f"{pad}{key}: {len(each)} weights")
        elif isinstance(each, dict) and each:
            lines += [f"{pad}{key}:", *_options(each, depth + 1)]
        else:
            lines.append(f"{pad}{key}: {json.dumps(each)[:200]}")
    return lines


def _is_weight(told: Any) -> bool:
    return isinstance(told, str) and " (" in told and told.endswith(")")
