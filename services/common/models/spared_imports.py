"""Imports that TensorFlow and Keras try, and that Facet has no use for.

Both look for packages that they can work with (Keras wraps its models for scikit-learn and draws
plots, TensorFlow converts functions of JAX) and import them where they happen to be installed:
a second or two of a core and 190 MB in each process.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

TRIED: Final = ("sklearn", "matplotlib", "jax")
"""What they do without where it is missing; Keras on JAX needs the last, of course."""


@contextmanager
def spared(*packages: str) -> Iterator[None]:
    """Let the imports of this block find none of the packages, unless they are there already.

    For where a process loads them first: other threads cannot import them meanwhile either.
    """
    hidden = [package for package in packages if package not in sys.modules]
    for package in hidden:
        # To Python, this says that there is no such module.
        sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for package in hidden:
            sys.modules.pop(package, None)
