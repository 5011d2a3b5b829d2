r"""Write a trained model as a folder that serves it without this project, or as an ONNX file.

python -m stages.export FOLDER [--model models:/NAME@champion|FOLDER] [--onnx FILE.onnx]

The folder has the converted model, the code that serves it, pinned requirements, a start script and
a Containerfile. TensorFlow is not needed to serve it, so it draws no heat maps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from knee.classifier.inference import converted
from knee.classifier.inference.gradient_worker import GradientProcess
from knee.prediction import request_images, synthetic_model
from knee.run import command
from knee.serving import export, loading


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line."""

    params: Path
    folder: Path
    model: str


def run(chosen: Options) -> int:
    """Export the chosen model."""
    export.check_destination(chosen.folder)
    name = loading.champion_unless_named(chosen.model, chosen.params)
    with loading.trained_model(name) as trained:
        if beginning := synthetic_model.warning(trained.training):
            command.alarm(beginning)
        digest = trained.training["model_sha256"]
        process = GradientProcess(trained.net.resolve(), digest, request_images.EXPLAIN_SECONDS)
        with (
            contextlib.closing(process),
            converted.graph(digest, loading.cache(), process.convert) as graph,
        ):
            export.write(trained, graph, chosen.folder)
    logging.info("exported %s to %s: README.md there says how to start it", name, chosen.folder)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="to write; new, or empty")
    loading.add_model_flag(parser)
    chosen = Options(**vars(parser.parse_args(argv)))
    return command.exit_status("export", lambda: run(chosen))


if __name__ == "__main__":
    raise SystemExit(main())
