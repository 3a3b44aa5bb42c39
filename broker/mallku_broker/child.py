"""Child processes that do not outlive the process that started them.

On Linux a small launcher asks the kernel for a signal at the parent's death (`PR_SET_PDEATHSIG`,
prctl(2)) and then becomes the command. A `preexec_fn` would run Python between fork and exec, which
may deadlock as soon as there are threads; the launcher is a fresh interpreter and has none. The
kernel looks at the *thread* that started the child: start it from one that lives as long as the
child should. Elsewhere the command runs as it is, and its parent has to stop it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

_LAUNCHER: Final = """
import ctypes, os, sys
signal, parent, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
if ctypes.CDLL(None, use_errno=True).prctl(1, signal, 0, 0, 0) != 0:
    sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
if os.getppid() != parent:
    sys.exit("the parent is gone")
os.execv(command[0], command)
"""


def dies_with_parent(command: Sequence[str], *, when: int = signal.SIGTERM) -> list[str]:
    """The command line that runs `command` and gets the signal `when` once this process is gone.

    Args:
        command: The absolute path of a program, and its arguments.
    """
    if sys.platform != "linux":
        return list(command)
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER]
    return [*launcher, str(int(when)), str(os.getpid()), *command]
