"""Engines side by side: images a second through the frozen backbones."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from knee.storage.arrays import Pixels

SIDE, ROUNDS = 224, 3
BATCH, LEAST_SHARE = 32, 0.01  # of the profile


def measure(weights: Path, images: int) -> dict[str, Any]:
    """Each engine `ROUNDS` times, in turn; the best round counts."""
    peak = machine.gemm_gigaflops()
    found: dict[str, Any] = {"gemm_gigaflops": round(peak, 1), "images": images}
    for name in ("mobilenet", "xception"):
        count = images if name == "mobilenet" else max(images // 6, 16)
        found[name] = _backbone(name, weights, count, peak)
    return found


def _backbone(name: str, weights: Path, images: int, peak: float) -> dict[str, Any]:
    from knee.classifier.net import fine_tuning
    from knee.classifier.net.design import BackboneDesign

    frozen, _ = fine_tuning.split_backbone(BackboneDesign(name, SIDE, str(weights), "head"))
    work = 2 * multiplications(frozen) / 1e9
    pixels = np.random.default_rng(0).integers(0, 256, (images, SIDE, SIDE), np.uint8)
    runs = _engines(frozen)
    best = dict.fromkeys(runs, 0.0)
    for run in runs.values():
        run(pixels[:16])
    for _ in range(ROUNDS):
        for engine, run in runs.items():
            start = time.perf_counter()
            run(pixels)
            best[engine] = max(best[engine], images / (time.perf_counter() - start))
    return {
        "gigaflop_an_image": round(work, 3),
        **{
            engine: {
                "images_per_second": round(rate, 1),
                "share_of_float32_gemm": round(rate * work / peak, 3),
            }
            for engine, rate in best.items()
        },
        "openvino_time_shares": _time_shares(frozen, pixels[:BATCH, ..., None]),
    }


def _time_shares(frozen: Any, pixels: Pixels) -> dict[str, float]:
    """By OpenVINO's own profile in float32: what share of the time each kind of layer takes."""
    from knee.classifier.features.engines import openvino

    core = openvino().Core()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        frozen.export(str(path), format="openvino", verbose=False)
        graph = core.read_model(path)
    graph.reshape(pixels.shape)
    hints = {"PERF_COUNT": True, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(graph, "CPU", hints).create_infer_request()
    for _ in range(ROUNDS):
        request.infer([pixels.astype(np.float32)])
    seconds: Counter[str] = Counter()
    for layer in request.get_profiling_info():
        seconds[layer.node_type] += layer.real_time.total_seconds()
    shares = {kind: round(each / seconds.total(), 3) for kind, each in seconds.most_common()}
    return {kind: share for kind, share in shares.items() if share >= LEAST_SHARE}


def _engines(frozen: Any) -> dict[str, Callable[[Pixels], None]]:
    import tensorflow as tf

    from knee.classifier.features import engines

    shape = tuple(frozen.output.shape[1:])

    def filled(forward: engines.Forward) -> Callable[[Pixels], None]:
        return lambda pixels: forward.fill(pixels, np.empty((len(pixels), *shape), np.float16))

    def predict(pixels: Pixels) -> None:
        frozen.predict(pixels[..., None].astype(np.float32), batch_size=32, verbose=0)

    runs = {
        "keras_predict_float32": predict,
        "tensorflow_float32": filled(
            engines.TensorFlowForward(frozen, tf.distribute.get_strategy())
        ),
        "openvino_float32": filled(engines.OpenVinoForward(frozen, "float32")),
    }
    if engines.choose("openvino").precision == "bfloat16":
        runs["openvino_bfloat16"] = filled(engines.OpenVinoForward(frozen, "bfloat16"))
    return runs


def multiplications(model: Any) -> int:
    """Of one image, in convolutions and dense layers, nested models included."""
    import keras

    total = 0
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.SeparableConv2D):
            _, height, width, filters = layer.output.shape
            channels = layer.input.shape[-1]
            total += height * width * channels * (int(np.prod(layer.kernel_size)) + filters)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            _, height, width, channels = layer.output.shape
            total += height * width * channels * int(np.prod(layer.kernel_size))
        elif isinstance(layer, keras.layers.Conv2D):
            _, height, width, filters = layer.output.shape
            total += height * width * filters * int(np.prod(layer.kernel.shape[:3]))
    return total
