"""Runs an exported step with numpy alone: for real-time control where there is no torch.

This file imports nothing but numpy and the standard library, so that it can be copied to a robot by itself.
"""

from __future__ import annotations

import json
import math
import operator
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["OPERATIONS", "NumpyRunner"]

_erf = np.vectorize(math.erf, otypes=[float])


def _split(x: np.ndarray, size: int, dim: int = 0) -> list[np.ndarray]:
    return np.split(x, range(size, x.shape[dim], size), axis=dim)


def _slice(x: np.ndarray, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> np.ndarray:
    index = [slice(None)] * x.ndim
    index[dim] = slice(start, end, step)
    return x[tuple(index)]


def _sum(x: np.ndarray, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> np.ndarray:
    return x.sum(axis=None if dims is None else tuple(np.atleast_1d(dims)), keepdims=keepdim)


def _index(x: np.ndarray, places: list[Any]) -> np.ndarray:
    return x[tuple(slice(None) if part is None else part for part in places)]


def _index_add(x: np.ndarray, dim: int, index: np.ndarray, source: np.ndarray, alpha: float = 1) -> np.ndarray:
    out = np.moveaxis(x.copy(), dim, 0)
    np.add.at(out, index, alpha * np.moveaxis(source, dim, 0))
    return np.moveaxis(out, 0, dim)


def _pad(x: np.ndarray, widths: list[int], value: float = 0.0) -> np.ndarray:
    pairs = [(0, 0)] * (x.ndim - len(widths) // 2)
    pairs += [(widths[k], widths[k + 1]) for k in range(len(widths) - 2, -1, -2)]
    return np.pad(x, pairs, constant_values=value)


def _expand(x: np.ndarray, shape: list[int], implicit: bool = False) -> np.ndarray:
    lead = len(shape) - x.ndim
    sizes = [x.shape[k - lead] if s == -1 else s for k, s in enumerate(shape)]
    return np.broadcast_to(x, sizes)


def _glu(x: np.ndarray, dim: int = -1) -> np.ndarray:
    value, gate = np.split(x, 2, axis=dim)
    return value / (1 + np.exp(-gate))


def _layer_norm(x: np.ndarray, shape: list[int], weight: Any, bias: Any, eps: float) -> tuple[np.ndarray, ...]:
    axes = tuple(range(-len(shape), 0))
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    scale = 1 / np.sqrt(var + eps)
    y = (x - mean) * scale
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), mean, scale


def _attention(q: Any, k: Any, v: Any, dropout: float = 0.0, causal: bool = False, **kw: Any) -> tuple[Any, None]:
    mask, scale = kw.get("attn_mask"), kw.get("scale") or q.shape[-1] ** -0.5
    scores = q @ np.swapaxes(k, -1, -2) * scale
    scores = scores if mask is None else np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return (weights / weights.sum(-1, keepdims=True)) @ v, None


def _new(value: float) -> Callable[..., np.ndarray]:
    return lambda x, shape, dtype=None: np.full(shape, value, dtype or x.dtype)


def _softplus(x: np.ndarray, beta: float = 1.0, threshold: float = 20.0) -> np.ndarray:
    return np.where(beta * x > threshold, x, np.log1p(np.exp(np.minimum(beta * x, threshold))) / beta)


def _log_softmax(x: np.ndarray, dim: int, half: bool = False) -> np.ndarray:
    z = x - x.max(dim, keepdims=True)
    return z - np.log(np.exp(z).sum(dim, keepdims=True))


def _scaled(op: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda a, b, alpha=1: op(a, b if alpha == 1 else alpha * b)


def _one_hot(x: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes, dtype=np.int64)[x]


def _scatter(x: np.ndarray, dim: int, index: np.ndarray, value: Any) -> np.ndarray:
    out = x.copy()
    np.put_along_axis(out, index, value, dim)
    return out


def _to(x: Any, dtype: Any = None, **_: Any) -> np.ndarray:
    return np.asarray(x).astype(dtype) if dtype is not None else np.asarray(x)


_ATEN: dict[str, Callable[..., Any]] = {
    "_log_softmax.default": _log_softmax,
    "_scaled_dot_product_flash_attention_for_cpu.default": _attention,
    "_to_copy.default": _to,
    "_unsafe_view.default": np.reshape,
    "abs.default": np.abs,
    "add.Tensor": _scaled(np.add),
    "addcmul.default": lambda x, a, b, value=1: x + value * a * b,
    "addmm.default": lambda b, x, w: x @ w + b,
    "alias.default": lambda x: x,
    "arange.default": lambda end, dtype=None: np.arange(end, dtype=dtype),
    "arange.start_step": lambda a, b, c=1, dtype=None: np.arange(a, b, c, dtype=dtype),
    "argmax.default": lambda x, dim=None, keepdim=False: x.argmax(dim, keepdims=keepdim),
    "bitwise_and.Tensor": np.bitwise_and,
    "bitwise_or.Tensor": np.bitwise_or,
    "bmm.default": np.matmul,
    "cat.default": lambda parts, dim=0: np.concatenate(parts, dim),
    "clamp.default": lambda x, low=None, high=None: np.clip(x, low, high),
    "clamp.Tensor": lambda x, low=None, high=None: np.clip(x, low, high),
    "clamp_min.default": np.maximum,
    "clone.default": lambda x, memory_format=None: x.copy(),
    "constant_pad_nd.default": _pad,
    "cos.default": np.cos,
    "detach.default": lambda x: x,
    "div.Tensor": np.divide,
    "elu.default": lambda x, alpha=1, scale=1, inner=1: scale * np.where(x > 0, x, alpha * np.expm1(inner * x)),
    "eq.Scalar": np.equal,
    "eq.Tensor": np.equal,
    "exp.default": np.exp,
    "expand.default": _expand,
    "ge.Scalar": np.greater_equal,
    "ge.Tensor": np.greater_equal,
    "gelu.default": lambda x, approximate="none": (0.5 * x * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype),
    "gt.Scalar": np.greater,
    "gt.Tensor": np.greater,
    "index.Tensor": _index,
    "index_add.default": _index_add,
    "index_select.default": lambda x, dim, index: np.take(x, index, dim),
    "le.Scalar": np.less_equal,
    "le.Tensor": np.less_equal,
    "lerp.Scalar": lambda a, b, weight: a + weight * (b - a),
    "linalg_vector_norm.default": lambda x, p=2, dim=None, keepdim=False: np.linalg.norm(x, p, dim, keepdim),
    "log.default": np.log,
    "log1p.default": np.log1p,
    "lt.Scalar": np.less,
    "lt.Tensor": np.less,
    "maximum.default": np.maximum,
    "mean.dim": lambda x, dims, keepdim=False: x.mean(tuple(np.atleast_1d(dims)), keepdims=keepdim),
    "minimum.default": np.minimum,
    "mm.default": np.matmul,
    "mul.Tensor": np.multiply,
    "native_layer_norm.default": _layer_norm,
    "ne.Scalar": np.not_equal,
    "neg.default": np.negative,
    "new_ones.default": _new(1.0),
    "new_zeros.default": _new(0.0),
    "one_hot.default": _one_hot,
    "ones_like.default": lambda x, dtype=None, **_: np.ones_like(x, dtype=dtype),
    "permute.default": np.transpose,
    "pow.Scalar": np.power,
    "pow.Tensor_Scalar": np.power,
    "reciprocal.default": np.reciprocal,
    "relu.default": lambda x: np.maximum(x, 0),
    "remainder.Scalar": np.mod,
    "repeat.default": lambda x, counts: np.tile(x, counts),
    "rsub.Scalar": lambda x, other, alpha=1: other - alpha * x,
    "scalar_tensor.default": lambda x, dtype=None: np.asarray(x, dtype=dtype),
    "scatter.value": _scatter,
    "select.int": lambda x, dim, index: np.take(x, index, dim),
    "glu.default": _glu,
    "sigmoid.default": lambda x: 0.5 * (np.tanh(0.5 * x) + 1),
    "sign.default": np.sign,
    "sin.default": np.sin,
    "slice.Tensor": _slice,
    "softplus.default": _softplus,
    "split.Tensor": _split,
    "split_with_sizes.default": lambda x, sizes, dim=0: np.split(x, np.cumsum(sizes)[:-1], dim),
    "sqrt.default": np.sqrt,
    "squeeze.dim": lambda x, dim: np.squeeze(x, dim) if x.shape[dim] == 1 else x,
    "stack.default": lambda parts, dim=0: np.stack(parts, dim),
    "sub.Tensor": _scaled(np.subtract),
    "sum.dim_IntList": _sum,
    "t.default": np.transpose,
    "tanh.default": np.tanh,
    "transpose.int": np.swapaxes,
    "unbind.int": lambda x, dim=0: list(np.moveaxis(x, dim, 0)),
    "unsqueeze.default": np.expand_dims,
    "view.default": np.reshape,
    "where.self": np.where,
    "zeros.default": lambda shape, dtype=None: np.zeros(shape, dtype),
    "zeros_like.default": lambda x, dtype=None, **_: np.zeros_like(x, dtype=dtype),
}
OPERATIONS = {f"aten.{name}": fn for name, fn in _ATEN.items()} | {str(operator.getitem): operator.getitem}
"""The operations that can be run, by torch's names."""


class NumpyRunner:
    """A controller: the state is kept between calls and forgotten by `reset`.

    Args:
        folder: what `agents.export.export_numpy` wrote.

    Raises:
        ValueError: the folder holds no such export, or an operation that is not known.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        path = Path(folder)
        try:
            program = json.loads((path / "program.json").read_text())
            with np.load(path / "arrays.npz", allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{path} holds no exported controller ({error}); write one with scripts/export.py"
            ) from error
        if unknown := {line["op"] for line in program["lines"]} - set(OPERATIONS):
            raise ValueError(f"unknown operations {sorted(unknown)}; use the runner of the version that exported this")
        self.fresh = [arrays.pop(f"fresh.{k}") for k in range(program["states"])]
        self.constants, self.inputs, self.outputs = arrays, program["inputs"], program["outputs"]
        self.lines = [(line["out"], OPERATIONS[line["op"]], line["args"], line["kwargs"]) for line in program["lines"]]
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self.state = [part.copy() for part in self.fresh]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Output [O] for one observation [I]; steps the state."""
        values: dict[str, Any] = dict(self.constants)
        row = np.asarray(x, dtype=np.float32)[None]
        values.update(zip(self.inputs, [row, *self.state], strict=True))
        with np.errstate(all="ignore"):
            for out, operation, args, kwargs in self.lines:
                values[out] = operation(*_fill(args, values), **{k: _fill(v, values) for k, v in kwargs.items()})
        results = _fill(self.outputs, values)
        self.state = [np.asarray(part, old.dtype) for part, old in zip(results[1:], self.state, strict=True)]
        return np.asarray(results[0])[0]


def _fill(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return values[value["node"]] if "node" in value else np.dtype(value["dtype"])
    if isinstance(value, list):
        return [_fill(item, values) for item in value]
    return value
