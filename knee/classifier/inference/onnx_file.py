"""A trained net as an ONNX file, for programs that read no other format.

Input `pixels`, float32 (batch, side, side, 1), canonical gray values of 0-255. Outputs, float32:
`probabilities` (batch, classes), calibrated; `features` (batch, features), by which the
out-of-distribution score is computed; of an ensemble `folds` (batch, folds * classes). How a file
becomes canonical, prediction sets and the score stay in this project: the file's metadata have the
classes and the side.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from knee.classifier.features import engines
from knee.classifier.net.trained_model import TrainedModel
from knee.run.errors import UserError
from knee.storage import artifacts

OPSET: Final = 17  # of 2022: older runtimes read it, and it has all that the nets need
TRIED_IMAGES: Final = 4
LARGEST_DIFFERENCE: Final = 1e-4  # of an output, by itself where that is above 1
OUTPUTS: Final = ("probabilities", "folds", "features")  # as in a row of `saved.with_features`


class OnnxError(UserError):
    """The net cannot be written, or does not compute what it should."""


def write(trained: TrainedModel, path: Path) -> float:
    """Write the net of `trained` to `path`, after it has answered as the net does.

    Returns:
        The largest difference of an output, as OpenVINO reads the file, on random images: absolute,
        or by the output itself where that is above 1.

    Raises:
        OnnxError: tf2onnx is not installed, the converter fails, or the difference is too large.
        ArtifactError: the net is missing or not the recorded one.
    """
    engines.openvino()  # before Keras imports it
    try:
        import tf2onnx
    except ImportError:
        raise OnnxError("--onnx needs the package tf2onnx, which requirements.txt has") from None
    from knee.classifier.net import saved

    joint = saved.with_features(trained.load())
    with artifacts.staged_file(path) as staged:
        try:
            function = _function(joint, trained)
            signature = function.input_signature
            tf2onnx.convert.from_function(
                function,
                signature,
                OPSET,
                custom_op_handlers={"Erfc": (_erfc, [])},
                output_path=str(staged),
            )
        except Exception as error:  # of many types
            said = (str(error).strip().splitlines() or [""])[0]
            raise OnnxError(
                f"{path}: not converted ({type(error).__name__}: {said[:200]})"
            ) from None
        _describe(staged, trained)
        difference = _difference(joint, trained, staged)
        if not difference <= LARGEST_DIFFERENCE:  # nor NaN
            raise OnnxError(f"{path}: its outputs differ by {difference:.1e} from the model's")
    return difference


def outputs(file: Path, images: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """Return the outputs for canonical images (batch, side, side, 1), as OpenVINO reads `file`."""
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = engines.openvino().Core().compile_model(str(file), "CPU", hints)
    found = compiled({"pixels": images}).to_dict()
    return {output.any_name: np.array(values) for output, values in found.items()}


def _function(joint: Any, trained: TrainedModel) -> Any:
    import tensorflow as tf

    classes, folds = len(trained.classes), trained.limits.folds
    side = trained.canonical.side_pixels

    def named(pixels: Any) -> dict[str, Any]:
        rows = joint(pixels, training=False)
        end = classes * (1 + folds)
        parts = dict(
            zip(OUTPUTS, (rows[:, :classes], rows[:, classes:end], rows[:, end:]), strict=True)
        )
        return parts if folds else {name: parts[name] for name in parts if name != "folds"}

    shape = tf.TensorSpec((None, side, side, 1), tf.float32, name="pixels")
    return tf.function(named, input_signature=[shape], autograph=False)


def _erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """Write erfc, of the activation GELU, as 1 - erf: ONNX has that alone, and tf2onnx neither."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    one = graph.make_const(f"{name}_one", np.float32(1).reshape(()))
    erf = graph.make_node("Erf", node.input[:1], shapes=shapes, dtypes=dtypes)
    graph.remove_node(name)
    ends = [one.output[0], erf.output[0]]
    graph.make_node("Sub", ends, name=name, outputs=node.output, shapes=shapes, dtypes=dtypes)


def _describe(file: Path, trained: TrainedModel) -> None:
    """Put into the file's metadata what its user needs beside it."""
    import onnx

    model = onnx.load(str(file))
    facts = {
        "classes": json.dumps(list(trained.classes)),
        "preprocessing": json.dumps(dict(trained.training["preprocessing"])),
        "model_sha256": trained.training["model_sha256"],
        "synthetic": json.dumps(trained.training["synthetic"]),
    }
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    onnx.save(model, str(file))


def _difference(joint: Any, trained: TrainedModel, file: Path) -> float:
    side = trained.canonical.side_pixels
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (TRIED_IMAGES, side, side, 1)).astype(np.float32)
    expected = np.asarray(joint(images, training=False))
    found = outputs(file, images)
    rows = np.concatenate([found[name] for name in OUTPUTS if name in found], axis=1)
    return float((np.abs(rows - expected) / np.maximum(1, np.abs(expected))).max())
