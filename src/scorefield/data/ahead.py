"""Work done by threads before its results are asked for, in order and bounded."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    function: Callable[[T], R], items: Iterable[T], *, threads: int, depth: int
) -> Generator[R]:
    """Results of a function in the order of its arguments, computed before they are asked for.

    An error is raised where its result would have come. The threads end with the iterator, also when
    it is closed in the middle.

    Arguments:
        function: called in the threads.
        items: its arguments, which may be without end; taken in the thread that asks for results.
        threads: how many.
        depth: the most results that may be under way or waiting while the last is being used.
    """
    waiting: deque[Future[R]] = deque()
    # One core each: a second team of torch's threads, which wait busily, would slow the caller down.
    # Threads that are made later would begin with one core too, unless told otherwise at the end.
    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        threads, "scorefield-ahead", initializer=torch.set_num_threads, initargs=(1,)
    )
    at_exit = sys.is_finalizing
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        if not at_exit():  # the interpreter has ended the threads, and taken its modules apart
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(cores)
