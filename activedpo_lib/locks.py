"""The one question that every lock here asks (floor 0). Locks are files: they die with their process, however it ends."""

import fcntl


def try_lock(file):
    """Lock an open file for this process; False where another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
