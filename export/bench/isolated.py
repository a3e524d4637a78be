"""A measurement in a process of its own: nothing that ran before has left memory, caches or threads behind."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")


def run_isolated(function: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs) -> _R:
    """What `function`, one of a module's own, returns or raises in a fresh Python process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **named).result()
