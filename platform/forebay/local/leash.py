"""Runs before a child's own program: ties its life to the supervisor's, then becomes that program.

Started as a script of its own (`python -I -S leash.py PARENT_PID PROGRAM ...`) instead of a preexec function, because
a function that runs between fork and exec is unsafe once the parent has threads, and librdkafka has.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
OPEN_FILES = 16_384
EXIT_ORPHANED, EXIT_NOT_FOUND = 125, 127


def restore_signals() -> None:
    """Undo what Python and a shell's `&` leave ignored: the program after us would inherit it."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)


def die_with(parent_pid: int) -> None:
    """Ask the kernel for SIGTERM when the parent is gone; leave at once if it went before we could ask."""
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        sys.exit("the kernel refused a parent-death signal")
    if os.getppid() != parent_pid:
        sys.exit(EXIT_ORPHANED)


def allow_many_files() -> None:
    """The usual 1,024 are fewer than the connections a web worker may hold; each is a file to the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    parent_pid, program = int(sys.argv[1]), sys.argv[2:]
    restore_signals()
    die_with(parent_pid)
    allow_many_files()
    try:
        os.execvp(program[0], program)  # noqa: S606  # becoming the program is the point; no shell is wanted
    except OSError as error:
        print(f"cannot start {program[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201  # its log is stderr
        sys.exit(EXIT_NOT_FOUND)


if __name__ == "__main__":
    main()
