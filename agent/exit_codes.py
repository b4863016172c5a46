"""The exit codes of the command line, as they are documented."""

from __future__ import annotations

OK, OURS, USAGE, VERIFY_FAILED, CONFIGURATION, RESOURCES, LOCKED, INTERRUPTED = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    130,
)
EXIT_CODES = """Exit codes: 0 ok, 1 a fault of ours, 2 wrong usage or input, 3 verification failed,
4 key, model or configuration, 5 resources (disk, memory, a provider that fails),
6 the run is locked, 130 interrupted."""
