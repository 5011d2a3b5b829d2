"""The distribution strategy for the GPUs, and reproducible arithmetic."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

import keras
import tensorflow as tf

from knee.run.errors import UserError

log = logging.getLogger(__name__)
Precision = Literal["none", "bfloat16", "float16"]


def strategy(devices: int = 0, *, kind: str = "GPU") -> tf.distribute.Strategy:
    """`MirroredStrategy` over `devices` devices (0: all visible); the default one for fewer than 2.

    Raises:
        UserError: more devices are asked for than are visible.
    """
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    if devices > max(len(names), 1):
        raise UserError(
            f"train.devices: {devices} asked for, {len(names)} {kind}s are visible: lower it, or "
            "take 0 for all"
        )
    chosen = names[: devices or len(names)]
    if len(chosen) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(chosen)


def workers_strategy(addresses: Sequence[str], number: int) -> tf.distribute.Strategy:
    """`MultiWorkerMirroredStrategy` of processes at these addresses, HOST:PORT each.

    This one is `number` (from 0), and listens there from now on. It computes on one GPU, the next
    of its machine, or on its cores. Call it before any operation of TensorFlow runs. It waits for
    the others without end, and no signal but SIGKILL ends that.
    """
    hosts = [address.rpartition(":")[0] for address in addresses]
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        tf.config.set_visible_devices(gpus[hosts[:number].count(hosts[number]) % len(gpus)], "GPU")
        share_gpus()
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": [*addresses]}),
        task_type="worker",
        task_id=number,
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(resolver)


def share_gpus() -> None:
    """Take of the memory of GPUs what is needed, not all of it: other processes use them too."""
    for gpu in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, enable=True)
        except RuntimeError:
            log.warning("TensorFlow runs already, and has all memory of the GPUs")
            return


def use_one_core() -> None:
    """Compute every operation on one core, unless there is a GPU; call it before TensorFlow runs.

    So a net is the same bits on any number of cores, and others can be trained beside it.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
    except RuntimeError:
        log.debug("TensorFlow runs already, on all cores")


def make_deterministic(seed: int) -> None:
    """Same seed, same machine -> same numbers. Call it before anything else of TensorFlow runs.

    Without a GPU operations run one at a time, each on all cores: two side by side share them by
    chance, and their sums round otherwise. Xception trained as a whole differed from process to
    process (docs/log.md).
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    if tf.config.list_physical_devices("GPU"):
        return
    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError:
        log.warning("TensorFlow runs already: a training may differ from others in its last digits")


def set_precision(precision: Precision) -> None:
    """Compute in `precision` with float32 variables; "none" is float32 throughout."""
    policy = "float32" if precision == "none" else f"mixed_{precision}"
    keras.mixed_precision.set_global_policy(policy)
