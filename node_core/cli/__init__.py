"""The command line: ``node-core <command>``; every command is one module with `add` and `run`.

Exit codes: 0 done; 1 the job failed (unreadable data, a solve that cannot go on, a folder not writable);
2 the command line itself is wrong.
"""

from .main import main

__all__ = ["main"]
