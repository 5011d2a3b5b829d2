"""What TensorFlow prints while it is imported on every machine, and what of it is no news.

Its libraries write to the process's standard error themselves, below any level that can be set.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import tempfile
from collections.abc import Iterator, MutableMapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

NOISE: Final = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\) is called|"
    rb"I\d{4} .*(oneDNN custom operations are on|binary is optimized to use available CPU)|"
    rb"To enable the following instructions: .* rebuild TensorFlow"
)


def keep_out(environment: MutableMapping[str, str]) -> None:
    """Have warnings and errors of TensorFlow shown, and no line of `NOISE` at its import."""
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors
    sys.meta_path.insert(0, _Quietly())


class _Quietly(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find TensorFlow as everybody does, and have it loaded without the noise."""
        del path, target
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_quietly(module: ModuleType) -> None:
                with without_noise():
                    load(module)

            spec.loader.exec_module = load_quietly  # type: ignore[method-assign]
        return spec


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
