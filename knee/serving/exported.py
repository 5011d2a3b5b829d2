#!/usr/bin/env -S python3 -I
"""Serve the model in this folder; README.md beside this file has the addresses and what is lost.

python serve.py [--host ADDRESS --token-file FILE] [--allow-host NAME] [--port PORT]

All files are checked by their SHA-256 first. Research software: not a medical device.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from knee.serving.listening import Listening

FOLDER: Final = Path(__file__).resolve().parent
SUMS: Final = "SHA256SUMS"  # as `sha256sum --check SHA256SUMS` reads it
FACTS: Final = "export.json"
GRAPH: Final = "model/graph.xml"


class Help(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """--help with line ends as they are, and defaults."""


def damaged(folder: Path) -> list[str]:
    """Return the files of an exported folder that are missing or have another SHA-256."""
    if not (folder / SUMS).is_file():
        return [SUMS]
    found = []
    for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file() or _sha256(file) != digest:
            found.append(name)
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def main(argv: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
    """Check the folder, parse the command line and serve until told to end."""
    if names := damaged(folder):
        sys.stderr.write(
            f"serve: damaged or missing: {', '.join(names)}: copy the exported folder again\n"
        )
        return 1
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    from knee.run.errors import UserError
    from knee.serving import listening

    parser = argparse.ArgumentParser("serve.py", description=__doc__, formatter_class=Help)
    listening.add_flags(parser, 5001)
    parser.add_argument(
        "--synthetic-model-ok",
        action="store_true",
        help="let a model of synthetic images answer about others, too",
    )
    chosen = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        with listening.ended_by_signal():
            serve(
                folder,
                listening.Listening.chosen(chosen),
                synthetic_model_ok=chosen.synthetic_model_ok,
            )
    except (UserError, OSError) as error:
        sys.stderr.write(f"serve: {error}\n")
        return 1
    return 0


def serve(folder: Path, place: Listening, *, synthetic_model_ok: bool) -> None:
    """Serve the model of an exported folder until the process is to end."""
    from knee.classifier.net.trained_model import TrainedModel
    from knee.prediction import request_images, synthetic_model
    from knee.prediction.graph_answers import GraphAnswers
    from knee.serving import listening
    from knee.serving.application import application

    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    with place.bound() as bound:
        access = place.access(bound)
        trained = TrainedModel.read(
            folder / "model", facts["name"], facts["version"], request_images.MEGAPIXELS
        )
        if beginning := synthetic_model.warning(trained.training):
            logging.warning("%s", beginning)
        answers = GraphAnswers(trained, folder / GRAPH, synthetic_model_ok=synthetic_model_ok)
        logging.info("its page for images: %s", place.page)
        listening.run(application(answers, access), bound)


if __name__ == "__main__":
    raise SystemExit(main())
