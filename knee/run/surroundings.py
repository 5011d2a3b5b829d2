"""What decides numbers is set by the project, not by the variables and files of its user.

KERAS_BACKEND, TF_ENABLE_ONEDNN_OPTS, KERAS_MAX_EPOCHS, a ~/.keras/keras.json with float16 and the
like change a model's numbers, or break its training, and nothing in the results would tell.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final

log = logging.getLogger(__name__)

BACKEND: Final = "KERAS_BACKEND"
BACKENDS: Final = ("tensorflow", "openvino")  # engines.prepare chooses the second
ONEDNN: Final = "TF_ENABLE_ONEDNN_OPTS"  # else TensorFlow has it where there are AVX-512's VNNI
MARK: Final = "TF2_BEHAVIOR"  # TensorFlow sets it itself
DECIDING: Final = re.compile(
    "(AUTOGRAPH|CUDNN|DNNL|KERAS|MLIR|ONEDNN|OV|TF|TF2|XLA)_.*|NVIDIA_TF32_OVERRIDE"
)
HARMLESS: Final = re.compile(  # logs, memory, folders; in the second line Terraform's
    "TF_CPP_.*|TF_FORCE_GPU_ALLOW_GROWTH|TF_GPU_ALLOCATOR|TF_GPU_THREAD.*|KERAS_HOME|CUDNN_LOG.*|"
    "TF_(CLI|CLOUD|PLUGIN|REGISTRY|TOKEN|VAR)_.*|TF_(DATA_DIR|IGNORE|IN_AUTOMATION|INPUT|LOG.*|WORKSPACE)"
)
NO_HOME: Final = Path("/tmp")  # noqa: S108  # nosec B108  # Keras' choice
STANDARD: Final[Mapping[str, Any]] = {  # what Keras does without a keras.json
    "floatx": "float32",
    "epsilon": 1e-7,
    "image_data_format": "channels_last",
    "nnx_enabled": False,
}


def settle(environment: MutableMapping[str, str]) -> None:
    """Remove from `environment` what would decide numbers, and name it in one line of the log.

    Call it before Keras, TensorFlow and OpenVINO are imported: they read it then.
    """
    removed = [name for name in environment if DECIDING.fullmatch(name)]
    removed = sorted(name for name in removed if not HARMLESS.fullmatch(name))
    values = {name: environment.pop(name) for name in removed}
    if values.get(BACKEND, "") in ("", *BACKENDS):
        values.pop(BACKEND, None)
    if values.get(ONEDNN) == "1":
        del values[ONEDNN]
    if values.get(MARK) == "1":  # of a process whose parent has imported TensorFlow
        del values[MARK]
    environment[BACKEND] = BACKENDS[0]  # it counts before that of keras.json
    environment[ONEDNN] = "1"
    if not environment.get("KERAS_HOME", "any"):
        del environment["KERAS_HOME"]  # for Keras that were the working directory
    home = _keras_home(environment)
    if not _is_standard(home / "keras.json"):
        environment["KERAS_HOME"] = _own_home(home)
        values[str(home / "keras.json")] = ""
    if values:
        log.warning("not used, since numbers would depend on it: %s", ", ".join(values))


def _keras_home(environment: Mapping[str, str]) -> Path:
    """The folder in which Keras looks for keras.json: of somebody without a home in /tmp."""
    if "KERAS_HOME" in environment:
        return Path(environment["KERAS_HOME"])
    try:
        home = Path.home()
    except RuntimeError:
        return NO_HOME / ".keras"
    return (home if os.access(home, os.W_OK) else NO_HOME) / ".keras"


def _is_standard(file: Path) -> bool:
    """Whether Keras makes of `file` what it would do without; the backend is set apart."""
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return isinstance(given, dict) and all(
        given.get(name, value) == value and type(given.get(name, value)) is type(value)
        for name, value in STANDARD.items()
    )


def _own_home(home: Path) -> str:
    """A folder without keras.json, with the weights that Keras downloaded into `home`."""
    folder = tempfile.mkdtemp(prefix="keras-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    models = home / "models"
    try:
        models.mkdir(parents=True, exist_ok=True)
        (Path(folder) / "models").symlink_to(models.resolve())
    except OSError as error:
        log.warning("%s: %s: weights are downloaded again", models, error.strerror)
    return folder
