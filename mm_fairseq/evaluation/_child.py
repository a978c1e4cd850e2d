"""Become a command that does not outlive the process which started it: `_child.py PARENT COMMAND...`.

Run by file name, so that it costs no import of the package. A parent that is killed outright cannot end its children;
on Linux the kernel does it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the process that started this one is gone")
    os.execv(sys.argv[2], sys.argv[2:])
