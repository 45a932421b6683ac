"""Lock files: `singula.io.run_lock`."""

from __future__ import annotations

from singula.io.records.base import Count, StoredRecord


class LockRecord(StoredRecord):
    """Process that holds a lock.

    Parameters
    ----------
    task : str
        What the process does: ``run``, ``tune``, ``export`` …; empty if it is not known.
    pid : int
        Number of the process; 0 if it is not known.
    host : str
        Name of its computer.
    command : str
        Its command line.
    started : str
        Time at which it took the lock, UTC.
    """

    task: str = ""
    pid: Count = 0
    host: str = ""
    command: str = ""
    started: str = ""
