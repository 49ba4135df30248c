"""Writes test/golden/ops/pytorch.json: ops and losses, output and gradients, as PyTorch computes them.

Inputs come from a formula both sides share (test/ops/formula.ts); PyTorch computes in float64.
usage: python test/golden/scripts/ops.py   (torch 2.13, CPU; from the repository root)
"""
import json
import math
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F


def values(count, seed, scale=1.0, shift=0.0):
    """A hash of the index, exact on both sides: 32-bit integers only."""
    mask = np.uint64(0xFFFFFFFF)
    x = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed) * np.uint64(40503)) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(2246822507)) & mask
    x ^= x >> np.uint64(13)
    x = (x * np.uint64(3266489909)) & mask
    x ^= x >> np.uint64(16)
    return ((x.astype(np.float64) / 4294967296.0 - 0.5) * 2 * scale + shift).astype(np.float32)


def tensor(shape, seed, scale=1.0, shift=0.0, grad=False):
    count = int(np.prod(shape)) if len(shape) else 1
    t = torch.from_numpy(values(count, seed, scale, shift)).double().reshape(shape)
    return t.requires_grad_() if grad else t


def flat(t):
    return [float(f"{v:.9g}") if math.isfinite(v) else str(v).replace("inf", "Infinity") for v in t.detach().double().reshape(-1).tolist()]


def grid(shape, grad=False):
    """-2 .. 2 over and over: ties, and the kinks of relu, abs, max ..."""
    t = (torch.arange(int(np.prod(shape))) * 7 % 5 - 2).double().reshape(shape)
    return t.requires_grad_() if grad else t


cases = {}


def case(name, f, *inputs):
    """The output, and the gradient of sum(output * direction) for every input."""
    y = f(*inputs)
    record = {"output": flat(y), "shape": list(y.shape)}
    leaves = [x for x in inputs if x.requires_grad]
    if leaves and y.requires_grad:
        grads = torch.autograd.grad((y * tensor(tuple(y.shape), 999)).sum(), leaves, allow_unused=True)
        record["grads"] = [None if g is None else flat(g) for g in grads]
    cases[name] = record


x = lambda shape, seed=1, scale=2.0, shift=0.0: tensor(shape, seed, scale, shift, grad=True)
pos = lambda shape, seed=1: tensor(shape, seed, 1.0, 1.3, grad=True)
for name, f in {
    "neg": torch.neg, "abs": torch.abs, "exp": torch.exp, "sin": torch.sin, "cos": torch.cos, "tanh": torch.tanh,
    "sigmoid": torch.sigmoid, "erf": torch.erf, "relu": torch.relu, "expm1": torch.expm1, "square": torch.square,
    "gelu": F.gelu, "gelu tanh": lambda t: F.gelu(t, approximate="tanh"), "silu": F.silu, "leakyRelu": F.leaky_relu,
    "softmax": lambda t: F.softmax(t, -1), "softmax 0": lambda t: F.softmax(t, 0),
    "logSoftmax": lambda t: F.log_softmax(t, -1), "clamp": lambda t: t.clamp(-1, 0.5),
}.items():
    case(name, f, x((4, 7)))
for name, f in {
    "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "log1p": torch.log1p, "reciprocal": torch.reciprocal,
}.items():
    case(name, f, pos((4, 7)))
for name, f in {"round": torch.round, "floor": torch.floor, "ceil": torch.ceil, "sign": torch.sign}.items():
    case(name, f, tensor((4, 7), 1, 3.0))
for name, f in {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "maximum": torch.maximum, "minimum": torch.minimum,
}.items():
    case(f"{name} broadcast", f, x((3, 1, 5)), pos((4, 1), 2))
case("pow", torch.pow, pos((3, 4)), x((4,), 2))
case("where", lambda a, b: torch.where(a > 0.3, a * 2, b), x((3, 4)), x((4,), 2))
for name, f in {
    "sum": lambda t: t.sum(), "sum 0,2": lambda t: t.sum((0, 2)), "mean 1": lambda t: t.mean(1), "max 2": lambda t: t.amax(2),
    "min": lambda t: t.amin(), "var": lambda t: t.var(), "var 1 biased": lambda t: t.var(1, unbiased=False, keepdim=True),
    "std 0": lambda t: t.std(0), "argmax": lambda t: t.argmax(1), "permute": lambda t: t.permute(2, 0, 1),
    "reshape": lambda t: t.transpose(1, 2).reshape(6, -1), "flip": lambda t: t.flip(0, 2), "slice": lambda t: t[:, 1:4:2],
    "pad": lambda t: F.pad(t, (1, 2, 0, 1), value=0.5), "expand": lambda t: t.unsqueeze(1).expand(3, 2, 4, 5),
    "concat": lambda t: torch.cat([t, t * 2], 1), "stack": lambda t: torch.stack([t, t + 1], -1),
}.items():
    case(name, f, x((3, 4, 5)))
for name, a, b in [
    ("2d", (3, 4), (4, 5)), ("batched", (2, 3, 4), (2, 4, 5)), ("broadcast", (2, 1, 3, 4), (5, 4, 2)),
    ("vector", (4,), (4, 3)), ("3d 2d", (2, 3, 4), (4, 5)), ("odd", (17, 33), (33, 9)),
]:
    case(f"matmul {name}", torch.matmul, x(a), x(b, 2))
for name, xs, ws, o in [
    ("plain", (2, 3, 6, 5), (4, 3, 3, 3), {}), ("padded", (1, 3, 5, 5), (2, 3, 3, 3), {"padding": 1}),
    ("strided", (1, 2, 7, 8), (3, 2, 3, 2), {"stride": (2, 3), "padding": (1, 0)}),
    ("dilated", (1, 2, 9, 9), (2, 2, 3, 3), {"dilation": 2}),
    ("grouped", (1, 4, 5, 5), (6, 2, 3, 3), {"groups": 2, "padding": 1}),
    ("depthwise", (1, 4, 5, 5), (4, 1, 3, 3), {"groups": 4, "stride": 2}),
]:
    case(f"conv2d {name}", lambda t, w, b: F.conv2d(t, w, b, **o), x(xs), x(ws, 2), x((ws[0],), 3))
case("maxPool2d", lambda t: F.max_pool2d(t, 2), x((2, 3, 6, 4)))
case("maxPool2d padded", lambda t: F.max_pool2d(t, 3, 2, 1), x((1, 2, 7, 7)))
case("maxPool2d ceil", lambda t: F.max_pool2d(t, 3, 2, ceil_mode=True), x((1, 2, 6, 7)))
case("avgPool2d", lambda t: F.avg_pool2d(t, 3, 2, 1), x((1, 2, 7, 6)))
case("avgPool2d valid", lambda t: F.avg_pool2d(t, 3, 2, 1, count_include_pad=False), x((1, 2, 7, 6)))
case("adaptiveAvgPool2d", lambda t: F.adaptive_avg_pool2d(t, (3, 2)), x((1, 2, 7, 5)))
case("adaptiveAvgPool2d up", lambda t: F.adaptive_avg_pool2d(t, 7), x((1, 2, 1, 1)))
labels = torch.tensor([0, 3, 2, 3, 1])
weights = tensor((4,), 7, 0.4, 1)
for name, o in {
    "": {}, " smooth": {"label_smoothing": 0.2}, " weights": {"weight": weights},
    " all": {"weight": weights, "label_smoothing": 0.1, "ignore_index": 3}, " none": {"reduction": "none"},
}.items():
    case(f"crossEntropy{name}", lambda t: F.cross_entropy(t, labels, **o), x((5, 4)))
case("crossEntropy 3d", lambda t: F.cross_entropy(t, torch.tensor([[0, 1, 2], [3, 3, 0]])), x((2, 4, 3)))
for name, f in {
    "mse": F.mse_loss, "l1": F.l1_loss, "huber": lambda a, b: F.huber_loss(a, b, delta=0.7),
    "smoothL1": lambda a, b: F.smooth_l1_loss(a, b, beta=0.5),
}.items():
    case(name, f, x((3, 4)), x((3, 4), 2))
target = tensor((3, 4), 2, 0.5, 0.5)
case("bceWithLogits", lambda t: F.binary_cross_entropy_with_logits(t, target), x((3, 4)))
case("bce", lambda t: F.binary_cross_entropy(t, target), x((3, 4), 1, 0.45, 0.5))
index = torch.tensor([[1, 0, 4], [2, 2, 0]])
case("embedding", lambda t: F.embedding(index, t), x((5, 3)))
case("gather", lambda t: t.gather(1, index), x((2, 5)))
case("scatterAdd", lambda t, s: t.scatter_add(1, index, s), x((2, 5)), x((2, 3), 2))
case("layerNorm", lambda t, w, b: F.layer_norm(t, (5,), w, b), x((3, 5)), x((5,), 2), x((5,), 3))
images = (4, 3, 2, 5)
case("batchNorm train", lambda t, w, b: F.batch_norm(t, None, None, w, b, True), x(images), x((3,), 2), x((3,), 3))
running = tensor((3,), 4), tensor((3,), 5, 0.5, 1)
case("batchNorm eval", lambda t, w, b: F.batch_norm(t, *running, w, b), x(images), x((3,), 2), x((3,), 3))
case("linear", F.linear, x((4, 6)), x((3, 6), 2), x((3,), 3))

# Where slopes jump and maxima tie.
for name, f in {
    "relu": torch.relu, "abs": torch.abs, "leakyRelu": F.leaky_relu, "softplus": F.softplus, "gelu": F.gelu,
    "max": lambda t: t.amax(1), "min": lambda t: t.amin((0, 1)), "argmax": lambda t: t.argmax(1),
    "pow": lambda t: t.pow(3), "bceWithLogits": lambda t: F.binary_cross_entropy_with_logits(t, torch.full((4, 7), 0.25)),
    "huber": lambda t: F.huber_loss(t, torch.zeros(4, 7).double()), "l1": lambda t: F.l1_loss(t, torch.zeros(4, 7).double()),
}.items():
    case(f"kinks {name}", f, grid((4, 7), True))
for name, f in {"maximum": torch.maximum, "minimum": torch.minimum}.items():
    case(f"kinks {name}", f, grid((4, 7), True), grid((7,), True))
for name, f in {
    "eq": torch.eq, "ne": torch.ne, "lt": torch.lt, "le": torch.le, "gt": torch.gt, "ge": torch.ge,
    "logic": lambda a, b: ((a > 0) & (b < 0)) | ~(a == b),
}.items():
    case(f"compare {name}", f, grid((4, 7)), grid((7,)))
case("maxPool2d ties", lambda t: F.max_pool2d(t, 3, 2, 1), grid((1, 2, 7, 7), True))
holes = torch.where(grid((1, 2, 7, 7)) == 2, math.nan, tensor((1, 2, 7, 7), 1, 2.0))
case("maxPool2d NaN", lambda t: F.max_pool2d(t, 2), holes)
case("argmax NaN", lambda t: t.argmax(3), holes)
case("max NaN", lambda t: t.amax((2, 3)), holes)
case("min NaN", lambda t: t.amin(3), holes)
case("kinks clamp", lambda t: t.clamp(-1, 1), grid((4, 7), True))
case("softplus", F.softplus, x((4, 7), 1, 30.0))
case("clamp NaN", lambda t: t.clamp(-1, 1), holes)
case("maximum NaN", lambda t: torch.maximum(t, torch.zeros(7).double()), holes)
case("matmul dot", torch.matmul, x((9,)), x((9,), 2))
case("matmul matrix vector", torch.matmul, x((3, 4)), x((4,), 2))
case("conv2d wide", lambda t, w: F.conv2d(t, w, padding=1), x((3, 40, 5, 4)), x((5, 40, 3, 3), 2))

out = Path("test/golden/ops/pytorch.json")
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps(cases))
print(out, out.stat().st_size)
