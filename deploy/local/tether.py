"""Runs a command that cannot outlive the process that started it.

    python tether.py PARENT_PID SIGNAL own|new COMMAND …

`SIGNAL` is the number of the signal that the kernel sends the command when its parent dies, by whatever
means; `new` gives it a user namespace of its own. This is a program, and no `preexec_fn`, because Python code
between fork and exec can deadlock in a process that has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
NO_NAMESPACE = 71  # the exit code that says: this machine gives no user namespace


def main(parent: int, death_signal: int, namespace: str, command: list[str]) -> None:
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if namespace == "new" and libc.unshare(CLONE_NEWUSER) != 0:
            print(f"no user namespace: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
            sys.exit(NO_NAMESPACE)
        # After unshare, which clears it; and the parent may have died before it was set.
        libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(128 + signal.SIGTERM)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
