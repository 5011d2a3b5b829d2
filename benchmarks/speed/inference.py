"""The batch predictor against plain Keras, ONNX Runtime, and OpenVINO's own queue on one graph.

ONNX Runtime and the converter to it are in requirements-bench.txt, which `make bench` installs.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

SIDE, ROUNDS, CLASSES, ONNX_BATCH = 224, 3, 3, 16


def measure(data: Path, weights: Path, most_files: int) -> dict[str, Any]:
    """Images a second of each backbone's whole classifier; the head has random weights."""
    from knee.reading import source_files

    sources = source_files.list_sources(data)
    step = max(len(sources) // most_files, 1)
    chosen = sources[::step][:most_files]
    return {
        "files": len(chosen),
        **{
            name: _backbone(name, weights, chosen[: len(chosen) if name == "mobilenet" else 96])
            for name in ("mobilenet", "xception")
        },
    }


def _backbone(name: str, weights: Path, sources: list[Any]) -> dict[str, Any]:
    from knee.classifier.features import engines
    from knee.classifier.net import assembly, heads, saved
    from knee.classifier.net.design import BackboneDesign
    from knee.classifier.net.trained_model import TrainedModel
    from knee.evidence.evaluation.json_contents import TrainingRecord
    from knee.evidence.uncertainty import prediction_limits
    from knee.prediction.batch_prediction import Model
    from knee.reading import prepare
    from knee.reading.canonical_image import Canonical

    design = BackboneDesign(name, SIDE, str(weights), "head")
    # Without the hidden layer: its GELU is what the converter to ONNX cannot express.
    model = assembly.build(design, heads.HeadDesign(dense_units=0), CLASSES).whole
    canonical = Canonical(SIDE, "letterbox", 64.0)
    prepared = prepare.prepare_all(sources, canonical)
    pixels = np.stack([each for each in prepared if isinstance(each, np.ndarray)])
    classes = tuple(str(number) for number in range(CLASSES))
    limits = prediction_limits.PredictionLimits(classes, None, None)
    with tempfile.TemporaryDirectory() as folder:
        sha256 = saved.save_model(model, Path(folder) / "model.keras")
        record = cast(TrainingRecord, {"classes": classes, "model_sha256": sha256})
        trained = TrainedModel(Path(folder), "", "", record, canonical, limits)
        predictor = Model(trained, engines.choose("openvino", "float32"))
        onnx = _onnx_session(model, pixels[:1], Path(folder) / "model.onnx")
    graph = engines.compiled_graph(model, "float32", engines.OPENVINO_BATCH)
    rates = _best(
        {
            "keras_predict": lambda: saved.predict(model, pixels),
            "onnxruntime": lambda: _onnx_run(onnx, pixels),
            "openvino_queue": lambda: _queue(graph, pixels),
            "predict": lambda: predictor.classify(sources),
        },
        len(pixels),
    )
    return {
        **{f"{run}_images_per_second": round(rate, 1) for run, rate in rates.items()},
        "speedup_over_keras": round(rates["predict"] / rates["keras_predict"], 2),
        "speedup_over_onnxruntime": round(rates["predict"] / rates["onnxruntime"], 2),
        "share_of_openvino_queue": round(rates["predict"] / rates["openvino_queue"], 3),
    }


def _best(runs: dict[str, Callable[[], Any]], images: int) -> dict[str, float]:
    """Images a second of the best round, the runs in turn."""
    for run in runs.values():
        run()
    best = dict.fromkeys(runs, 0.0)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = max(best[name], images / (time.perf_counter() - start))
    return best


def _onnx_session(model: Any, pixels: Any, path: Path) -> Any:
    """The model in ONNX Runtime, with the threads that it chooses itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras' bridge to the converter
        model.predict(pixels[..., None].astype(np.float32), verbose=0)  # its shapes must be known
        model.export(str(path), format="onnx", verbose=False)
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def _onnx_run(session: Any, pixels: Any) -> None:
    name = session.get_inputs()[0].name
    for start in range(0, len(pixels), ONNX_BATCH):
        batch = pixels[start : start + ONNX_BATCH, ..., None].astype(np.float32)
        session.run(None, {name: batch})


def _queue(graph: Any, pixels: Any) -> None:
    """The ceiling: whole batches of ready images, nothing kept."""
    from knee.classifier.features.engines import OPENVINO_BATCH, openvino

    queue = openvino().AsyncInferQueue(graph)
    for start in range(0, len(pixels) // OPENVINO_BATCH * OPENVINO_BATCH, OPENVINO_BATCH):
        queue.start_async({0: pixels[start : start + OPENVINO_BATCH, ..., None]})
    queue.wait_all()
