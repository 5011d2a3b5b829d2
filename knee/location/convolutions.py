"""A small convolutional network as arrays of weights, computed by NumPy alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from knee.storage.arrays import Images

Weights = Mapping[str, Images]  # NAME_kernel (rows, columns, in, out) and NAME_bias (out,)


def convolve(inputs: Images, weights: Weights, name: str, stride: int = 1) -> Images:
    """Return the convolution `name` of `inputs`, float32 (rows, columns, channels), zero-padded."""
    kernel, bias = weights[f"{name}_kernel"], weights[f"{name}_bias"]
    height, width, channels, filters = kernel.shape
    padded = np.pad(inputs, ((height // 2,) * 2, (width // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(0, 1))
    windows = windows[::stride, ::stride].transpose(0, 1, 3, 4, 2)
    columns = windows.reshape(-1, height * width * channels)
    outputs = columns @ kernel.reshape(-1, filters) + bias
    return np.asarray(outputs.reshape(*windows.shape[:2], filters), dtype=np.float32)


def rectified(inputs: Images, weights: Weights, name: str, stride: int = 1) -> Images:
    """Return `convolve` with negative values set to 0."""
    return np.maximum(convolve(inputs, weights, name, stride), np.float32(0))


def dense(inputs: Images, weights: Weights, name: str) -> Images:
    """Return the dense layer `name` of `inputs`, float32 (features,)."""
    outputs = inputs @ weights[f"{name}_kernel"] + weights[f"{name}_bias"]
    return np.asarray(outputs, dtype=np.float32)
