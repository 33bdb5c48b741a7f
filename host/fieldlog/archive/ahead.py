"""Work done in threads, a little ahead of whoever takes the results.

Rule of this module: results come in order, and no more of them wait than there are threads, so that memory is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import numpy as np

Out = TypeVar("Out")

_THREADS = 2  # what memory holds are this many results and one; numpy lets go of the interpreter for most of its work
_PIECE = 31 << 20


def ahead(jobs: Iterable[Callable[[], Out]], threads: int = _THREADS) -> Iterator[Out]:
    """What the jobs return, in order. The jobs themselves are made in the thread that takes the results."""
    keep_freed_memory()
    pending: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for job in jobs:
                pending.append(pool.submit(job))
                if len(pending) > threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


@cache
def keep_freed_memory() -> None:
    """A quarter of the time that decoding takes would go into getting the same pages from the system again and again.

    glibc gives freed memory back at once, if it is more than twice the largest piece that was ever freed; of this one,
    which is just below the most that counts, no page is ever touched. Elsewhere this does nothing.
    """
    np.empty(_PIECE, np.uint8)
