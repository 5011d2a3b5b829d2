r"""Write a trained model as a folder that serves it without this project, or as an ONNX file.

python -m stages.export [FOLDER] [--onnx FILE.onnx] [--model models:/NAME@champion|FOLDER]

The folder has the converted model, the code that serves it, pinned requirements, a start script and
a Containerfile. TensorFlow is not needed to serve it, so it draws no heat maps.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from knee.classifier.inference import converted, onnx_file
from knee.classifier.inference.gradient_worker import GradientProcess
from knee.classifier.net.trained_model import TrainedModel
from knee.prediction import request_images, synthetic_model
from knee.run import command
from knee.serving import export, loading


@dataclasses.dataclass(frozen=True)
class Options:
    """The command line."""

    params: Path
    folder: Path | None
    model: str
    onnx: Path | None


def run(chosen: Options) -> int:
    """Export the chosen model."""
    if not (chosen.folder or chosen.onnx):
        raise export.ExportError("give FOLDER, --onnx FILE or both")
    if chosen.folder:
        export.check_destination(chosen.folder)
    name = loading.champion_unless_named(chosen.model, chosen.params)
    with loading.trained_model(name) as trained:
        if beginning := synthetic_model.warning(trained.training):
            command.alarm(beginning)
        if chosen.folder:
            _write_folder(trained, chosen.folder)
            logging.info("%s in %s: its README.md says how to start it", name, chosen.folder)
        if chosen.onnx:
            difference = onnx_file.write(trained, chosen.onnx)
            logging.info("%s in %s: differs by %.1e at most", name, chosen.onnx, difference)
    return 0


def _write_folder(trained: TrainedModel, folder: Path) -> None:
    digest = trained.training["model_sha256"]
    process = GradientProcess(trained.net.resolve(), digest, request_images.EXPLAIN_SECONDS)
    with (
        contextlib.closing(process),
        converted.graph(digest, loading.cache(), process.convert) as graph,
    ):
        export.write(trained, graph, folder)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and run."""
    parser = command.parser(__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="FOLDER", help="to write; new, or empty"
    )
    loading.add_model_flag(parser)
    parser.add_argument(
        "--onnx", type=Path, metavar="FILE", help="file to write, also or instead; needs tf2onnx"
    )
    chosen = Options(**vars(parser.parse_args(argv)))
    return command.exit_status("export", lambda: run(chosen))


if __name__ == "__main__":
    raise SystemExit(main())
