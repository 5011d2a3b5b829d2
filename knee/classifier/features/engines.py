"""Engines that pass images through a net: OpenVINO on processors, TensorFlow on GPUs.

Importable without either. On processors without TensorFlow in the process, Keras itself runs on
OpenVINO: that saves TensorFlow's start, and channels-first layers give OpenVINO the graph that it
would otherwise have to be converted to.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import queue
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from knee.execution import hardware
from knee.run.errors import UserError
from knee.storage.arrays import AnyFloats, Pixels

if TYPE_CHECKING:
    import keras

Precision = Literal["float32", "bfloat16"]
OPENVINO_BATCH = 8  # images an inference request; 4 to 16 are alike, 32 loses


class EngineError(UserError):
    """An engine or an arithmetic that this machine does not have."""


@dataclass(frozen=True)
class Engine:
    """An engine and the precision of its arithmetic: both change the last digits of results."""

    name: Literal["tensorflow", "openvino"]
    precision: Precision

    @property
    def versions(self) -> dict[str, str]:
        """Installed versions of what computes."""
        return {name: _version(name) for name in ("keras", self.name)}


class Forward(Protocol):
    """A net that is ready to run."""

    output_shape: tuple[int, ...]

    def fill(self, images: Pixels, out: AnyFloats) -> None:
        """Outputs for uint8 `images` (n, side, side) are written to `out` (n, *output_shape)."""


def choose(
    engine: Literal["auto", "tensorflow", "openvino"] = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
) -> Engine:
    """What "auto" means here: GPUs need TensorFlow, a processor is best served by OpenVINO.

    Raises:
        EngineError: what is asked for by name is not there.
    """
    has_openvino = importlib.util.find_spec("openvino") is not None
    if engine == "openvino" and not has_openvino:
        raise EngineError("engine openvino is not installed: choose auto or tensorflow")
    if engine == "auto":
        engine = "openvino" if has_openvino and not gpu_is_visible() else "tensorflow"
    if engine == "tensorflow":
        return Engine(engine, "float32" if precision == "auto" else precision)
    has_bfloat16 = "BF16" in openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and not has_bfloat16:
        raise EngineError("precision bfloat16: this processor has none: choose auto or float32")
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16 else "float32"
    return Engine(engine, precision)


def prepare(engine: Engine) -> None:
    """Call it before the first import of Keras: there OpenVINO can take TensorFlow's place."""
    if engine.name == "openvino" and "keras" not in sys.modules:
        openvino()
        os.environ["KERAS_BACKEND"] = "openvino"
        import keras

        keras.config.set_image_data_format("channels_first")


def gpu_is_visible() -> bool:
    """Whether TensorFlow sees a GPU; it is asked only where the machine has one."""
    if not hardware.gpus():
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def openvino() -> Any:
    """The package, with its own stub in the place of its telemetry: nothing is sent or written."""
    sys.modules.setdefault("openvino_telemetry", cast("Any", None))
    import openvino as package  # type: ignore[import-untyped]

    return package


class OpenVinoForward:
    """A net in OpenVINO: several requests at work at once, each of a fixed number of images."""

    def __init__(self, net: keras.Model | Path, precision: Precision, cores: int = 0) -> None:
        """Compile `net`, a model or its graph (.xml): pixels (batch, side, side, 1) -> outputs.

        It computes on so many `cores`; 0: on all.
        """
        if isinstance(net, Path):
            compiled = compiled_file(net, precision, OPENVINO_BATCH, cores)
        else:
            compiled = compiled_graph(net, precision, OPENVINO_BATCH, cores)
        self.output_shape = tuple(compiled.output(0).shape[1:])
        self._queue = openvino().AsyncInferQueue(compiled)
        self._queue.set_callback(_store)

    def fill(self, images: Pixels, out: AnyFloats) -> None:
        """See `Forward`."""
        for start in range(0, len(images), OPENVINO_BATCH):
            batch = images[start : start + OPENVINO_BATCH]
            place = out[start : start + len(batch)]
            self._queue.start_async({0: padded(batch, OPENVINO_BATCH)[..., np.newaxis]}, place)
        self._queue.wait_all()


def compiled_graph(
    model: keras.Model, precision: Precision, batch_size: int, cores: int = 0
) -> Any:
    """`model` compiled by OpenVINO for uint8 batches of `batch_size`, for throughput."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        export_graph(model, path)
        return compiled_file(path, precision, batch_size, cores)


def export_graph(model: keras.Model, path: Path) -> None:
    """Write `model` to the file `path` (.xml), as OpenVINO reads it."""
    openvino()  # before Keras imports it
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf
        from openvino.frontend.tensorflow import utils  # type: ignore[import-untyped]

        # OpenVINO 2026.4 asks by exec("del tensorflow"), which finds no name from Python 3.13 on:
        # what exec sets inside a function is gone after it (PEP 667).
        utils.get_environment_setup = lambda _: {"tensorflow": tf.__version__}
    model.export(str(path), format="openvino", verbose=False)


def compiled_file(path: Path, precision: Precision, batch_size: int, cores: int = 0) -> Any:
    """The graph in the file `path` (.xml), likewise."""
    package = openvino()
    core = package.Core()
    graph = core.read_model(path)
    graph.reshape([batch_size, *graph.input().partial_shape[1:]])
    steps = package.preprocess.PrePostProcessor(graph)
    steps.input().tensor().set_element_type(package.Type.u8)
    hints = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
        # Processes of one machine would all pin their thread to its first core.
        **({"INFERENCE_NUM_THREADS": cores, "ENABLE_CPU_PINNING": False} if cores else {}),
    }
    return core.compile_model(steps.build(), "CPU", hints)


class CompiledNet:
    """A net in OpenVINO, raw pixels of one image -> one row, that many threads share."""

    def __init__(self, graph: Path, side_pixels: int, precision: Precision = "float32") -> None:
        """Compile the graph (.xml) for single uint8 images (1, side, side, 1)."""
        compiled = compiled_file(graph, precision, 1)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")):
            self._idle.put(compiled.create_infer_request())
        # OpenVINO's bindings set NumPy up at their first array: two threads that begin together
        # wait for each other for ever.
        self(np.zeros((side_pixels, side_pixels), np.uint8))

    def __call__(self, pixels: Pixels) -> npt.NDArray[np.float32]:
        """(outputs,) of `pixels`, uint8 (side, side)."""
        request = self._idle.get()
        try:
            request.infer({0: np.ascontiguousarray(pixels)[np.newaxis, ..., np.newaxis]})
            return np.array(request.get_output_tensor(0).data[0], np.float32)
        finally:
            self._idle.put(request)


class TensorFlowForward:
    """A net in TensorFlow, on all devices of a strategy."""

    def __init__(self, model: keras.Model, strategy: Any, batch_size: int = 32) -> None:
        """Wrap `model`, built in the scope of `strategy`; `batch_size` is a device's."""
        import tensorflow as tf

        self.output_shape = tuple(model.output.shape[1:])
        self._replicas = strategy.num_replicas_in_sync
        self._batch = batch_size * self._replicas
        self._strategy = strategy

        def forward(images: Any) -> Any:
            outputs = model(tf.cast(images, tf.float32)[..., tf.newaxis], training=False)
            return tf.cast(outputs, tf.float32)

        self._step = tf.function(lambda images: strategy.run(forward, args=(images,)))

    def fill(self, images: Pixels, out: AnyFloats) -> None:
        """See `Forward`."""
        for start in range(0, len(images), self._batch):
            batch = images[start : start + self._batch]
            parts = np.split(padded(batch, self._batch), self._replicas)
            computed = np.concatenate([part.numpy() for part in self._run(parts)])
            out[start : start + len(batch)] = computed[: len(batch)]

    def _run(self, parts: Sequence[Pixels]) -> Any:
        import tensorflow as tf

        given = self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group])
        )
        return self._strategy.experimental_local_results(self._step(given))


def padded(batch: Pixels, size: int) -> Pixels:
    """`batch` with its last image repeated up to `size`: graphs of one size are fastest."""
    missing = size - len(batch)
    return np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch


def _store(request: Any, place: AnyFloats) -> None:
    place[...] = request.get_output_tensor(0).data[: len(place)]


def _version(name: str) -> str:
    for distribution in (name, f"{name}-cpu"):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
