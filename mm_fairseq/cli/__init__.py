"""The command `mm-fairseq`: one module a subcommand, imported only when it is chosen.

A module `cli/<name, - as _>.py` has `add_arguments(parser)` and `run(args) -> int`, the exit status. One with `FURTHER`
(what it is, in words) gets the words behind `--` untouched, as `args.further`. One with `INTERMIXED` takes its plain
words on both sides of options.
"""

import argparse
import difflib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..errors import MMFairseqError

COMMANDS = {
    "prepare": "turn a raw corpus into a manifest with splits and targets",
    "binarize": "decode a prepared corpus into a data-bin for training",
    "extract": "cache what pretrained backbones make of a data-bin",
    "verify": "check every byte of a data-bin or a checkpoint, and mend a data-bin",
    "backbones": "list the backbones, or try pretrained files",
    "report": "turn predictions into tables, pictures and a web page",
    "predict": "answer for clips, or along a long recording, with a trained model",
    "export": "write a trained model as TorchScript, ONNX or torch.export, tried against it",
    "crossval": "train and test every fold and seed of a protocol, and add up",
    "compare": "test whether two files of predictions differ",
    "validate-subsets": "evaluate a checkpoint on every subset of its modalities",
    "inspect": "tell what a checkpoint holds without running any of it",
    "serve": "answer for clips over HTTP, with a page and a JSON API",
    "toy": "write a small corpus or small checkpoints in the real formats",
    "doctor": "tell what is installed, what works and how to mend the rest",
    "user-dir": "print the folder to give to fairseq as --user-dir",
}
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        argv: words after `mm-fairseq`; those of the process when None.

    Returns:
        0 on success, 2 when the input is at fault (one line on stderr says how), 130 when interrupted, else what the
        subcommand returns.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] not in COMMANDS:
        return _without_command(words)
    # Some modules of fairseq set the root logger to DEBUG when they are imported: take it back.
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", force=True)
    logging.getLogger("mm_fairseq").setLevel(logging.INFO)
    name, prog = words[0], f"mm-fairseq {words[0]}"
    module = import_module(f".{name.replace('-', '_')}", __name__)
    parser = argparse.ArgumentParser(prog=prog, description=_sentence(module.__doc__ or COMMANDS[name]))
    module.add_arguments(parser)
    words, further = words[1:], []
    if told := getattr(module, "FURTHER", ""):
        parser.usage = f"{parser.format_usage().removeprefix('usage: ').rstrip()} -- {told}"
        cut = words.index("--") if "--" in words else len(words)
        words, further = words[:cut], words[cut + 1 :]
    mixed = getattr(module, "INTERMIXED", False) and "--" not in words  # behind which argparse would look for options
    parse = parser.parse_intermixed_args if mixed else parser.parse_args
    args = parse(words, argparse.Namespace(further=further))
    try:
        return module.run(args)
    except MMFairseqError as error:
        return _fail(prog, str(error))
    except BrokenPipeError:
        # The reader of a pipe (head, less) has left: keep the interpreter from failing again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        # An error of the system names a file; without one it is not the user's to mend and keeps its traceback.
        if error.filename is None:
            raise
        return _fail(prog, f"{os.fsdecode(error.filename)}: {error.strerror}")
    except KeyboardInterrupt:
        again = ": run again with --resume" if hasattr(args, "resume") else ""
        sys.stderr.write(f"\n{prog}: interrupted; what is finished is kept{again}\n")
        return INTERRUPTED


def _without_command(words: list[str]) -> int:
    listing = "\n".join(f"  {name:<16} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="mm-fairseq",
        usage="mm-fairseq COMMAND [arguments]",
        description="Speech, text and video in one fairseq plugin: from a raw corpus to a trained model and a report.",
        epilog=f"commands:\n{listing}\n\n`mm-fairseq COMMAND --help` tells more about one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mm-fairseq {__version__}")
    if not words:
        parser.print_help()
        return 0
    parser.parse_known_args([word for word in words[:1] if word.startswith("-")])
    close = difflib.get_close_matches(words[0], COMMANDS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return _fail("mm-fairseq", f"unknown command {words[0]!r}{hint}; known: {', '.join(COMMANDS)}")


def _fail(prog: str, message: str) -> int:
    sys.stderr.write(f"{prog}: error: {clean(' '.join(message.split()))}\n")
    return 2


def clean(text: str) -> str:
    """What stands in files must not reach the terminal as commands to it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _sentence(docstring: str) -> str:
    """The first paragraph of a docstring."""
    return " ".join(docstring.strip().split("\n\n")[0].split())
