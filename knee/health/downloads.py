"""The pretrained weights that Keras downloads for `weights: imagenet`, at their first use."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Final

from knee.run.errors import UserError

# Name of the file, and its MD5 where Keras knows one.
FILES = {
    "mobilenet": ("mobilenet_1_0_224_tf_no_top.h5", ""),
    "xception": (
        "xception_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "b0042744bf5b25fce3cb969f33bebb97",
    ),
}
MEGABYTES: Final = {"mobilenet": 17, "xception": 84}  # of these files
HOST: Final = "storage.googleapis.com"
ADDRESS: Final = f"https://{HOST}/tensorflow/keras-applications"
ANSWER_SECONDS: Final = 2.0


class OfflineError(UserError):
    """Weights have to be downloaded, and their server cannot be reached."""


def announce(backbones: Sequence[str]) -> str:
    """Return what Keras downloads for `weights: imagenet` at the first use; "" if all is here.

    Raises:
        OfflineError: the server cannot be reached.
    """
    home = folder()
    absent = [name for name in backbones if not (home / FILES[name][0]).is_file()]
    if not absent:
        return ""
    megabytes = sum(MEGABYTES[name] for name in absent)
    addresses = [f"{ADDRESS}/{name}/{FILES[name][0]}" for name in absent]
    try:
        asked = urllib.request.Request(addresses[0], method="HEAD")  # noqa: S310  # https
        with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS):  # noqa: S310  # nosec B310
            pass
    except (OSError, HTTPException):
        raise OfflineError(
            f"weights: imagenet: {HOST} cannot be reached, from which Keras downloads "
            f"{' and '.join(absent)} ({megabytes} MB): put {' and '.join(addresses)} into {home}, "
            "or give weights=FOLDER that holds <backbone>.h5"
        ) from None
    return f"weights: imagenet: Keras downloads {megabytes} MB from {HOST} to {home}, once"


def folder() -> Path:
    """Return the folder of what Keras downloads."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
