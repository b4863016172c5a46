"""Fresh processes of one thread each."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor


def pool_of(processes: int) -> ProcessPoolExecutor:
    """Return fresh processes of one thread each: two that share two cores stall with two threads each."""
    os.environ["OMP_NUM_THREADS"] = "1"
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
