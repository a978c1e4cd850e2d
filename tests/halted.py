"""Processes that stand still at a step of their work until a signal ends them, which need not come in time for that."""

import os
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

START = """import sys
sys.path.append({tests!r})
import halted
sys.path.pop()
halted.halt({pattern!r}, {count}, {mark!r})
"""


def halt(pattern, count, mark):
    """Have this process, or one that it forks, stand still just before a file takes its name.

    Args:
        pattern: of the paths that are counted.
        count: which of them is the one; others are counted in each process for itself.
        mark: a file that is there from then on.
    """
    left = [count]

    def step(event, args):
        if event == "os.rename" and fnmatch(os.fspath(args[1]), pattern):
            left[0] -= 1
            if not left[0]:
                Path(mark).touch()
                time.sleep(3000)

    sys.addaudithook(step)


def environment(folder, pattern, count=1):
    """Variables with which any Python started does so; and the mark, in a folder that is made for this."""
    folder.mkdir()
    mark = folder / "mark"
    start = START.format(tests=str(Path(__file__).parent), pattern=pattern, count=count, mark=str(mark))
    (folder / "sitecustomize.py").write_text(start)
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}, mark
