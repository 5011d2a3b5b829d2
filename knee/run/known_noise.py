"""What the import of TensorFlow and Keras brings along that nobody here has asked for.

TensorFlow's libraries write to the process's standard error themselves, below any level that can
be set: what of it is no news on any machine is kept out. Keras imports packages for its wrappers
and galleries where it finds them: from it they are hidden, since nothing here uses those.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import AbstractContextManager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final, cast

NOISE: Final = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called|"
    rb"I\d{4} .*(oneDNN custom operations are on|binary is optimized to use available CPU)|"
    rb"To enable the following instructions: .* rebuild TensorFlow"
)
EXTRAS: Final = ("sklearn", "matplotlib.pyplot")


def keep_out(environment: MutableMapping[str, str]) -> None:
    """Have warnings and errors of TensorFlow shown, no line of `NOISE`, and Keras without `EXTRAS`.

    Both are imported later, by whoever needs them.
    """
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors
    sys.meta_path[:0] = [_Within("tensorflow", without_noise), _Within("keras", without_extras)]


class _Within(MetaPathFinder):
    """Finder of one package as everybody finds it, which is loaded within a context."""

    def __init__(self, package: str, context: Callable[[], AbstractContextManager[None]]) -> None:
        self._package = package
        self._context = context

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the package's spec, the first time that it is asked for."""
        del path, target
        if name != self._package:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_within(module: ModuleType) -> None:
                with self._context():
                    load(module)

            spec.loader.exec_module = load_within  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def without_extras() -> Iterator[None]:
    """Hide `EXTRAS`, as far as nobody has imported them: a third of the time of Keras' import."""
    hidden = [name for name in EXTRAS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, cast(ModuleType, None)))
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Keep lines of `NOISE` from the process's standard error; all others come at the end."""
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
            said.seek(0)
            for line in said:
                if not NOISE.match(line):
                    os.write(2, line)
