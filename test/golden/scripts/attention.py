"""Writes test/golden/ops/attention.json: F.scaled_dot_product_attention, output and gradients, in float64.

usage: python test/golden/scripts/attention.py   (torch 2.13, CPU; from the repository root)
"""
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F


def tensor(shape, seed, scale=1.0, grad=False):
    """The hash of test/ops/formula.ts."""
    mask = np.uint64(0xFFFFFFFF)
    x = (np.arange(int(np.prod(shape)), dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed) * np.uint64(40503)) & mask
    for shift, factor in ((16, 2246822507), (13, 3266489909), (16, 1)):
        x ^= x >> np.uint64(shift)
        x = (x * np.uint64(factor)) & mask
    values = ((x.astype(np.float64) / 4294967296.0 - 0.5) * 2 * scale).astype(np.float32)
    t = torch.from_numpy(values).double().reshape(shape)
    return t.requires_grad_() if grad else t


def flat(t):
    return [float(f"{v:.9g}") for v in t.detach().double().reshape(-1).tolist()]


cases = {}


def case(name, q, k, v, mask=None, mask_grad=False, **options):
    x = [tensor(shape, seed + 1, 2.0, grad=True) for seed, shape in enumerate((q, k, v))]
    if mask is not None and mask_grad:
        mask.requires_grad_()
    y = F.scaled_dot_product_attention(*x, attn_mask=mask, **options)
    leaves = x + ([mask] if mask_grad else [])
    grads = torch.autograd.grad((y * tensor(tuple(y.shape), 999)).sum(), leaves)
    cases[name] = {"output": flat(y), "shape": list(y.shape), "grads": [flat(g) for g in grads]}


case("plain", (2, 3, 5, 4), (2, 3, 5, 4), (2, 3, 5, 4))
case("cross", (1, 2, 3, 8), (1, 2, 7, 8), (1, 2, 7, 5))
case("causal", (2, 2, 9, 4), (2, 2, 9, 4), (2, 2, 9, 4), is_causal=True)
case("causal, fewer queries", (1, 2, 3, 4), (1, 2, 7, 4), (1, 2, 7, 4), is_causal=True)
case("causal, fewer keys", (1, 2, 7, 4), (1, 2, 3, 4), (1, 2, 3, 4), is_causal=True)
case("scale", (1, 1, 4, 6), (1, 1, 4, 6), (1, 1, 4, 6), scale=0.5)
case("float mask", (2, 2, 4, 4), (2, 2, 4, 4), (2, 2, 4, 4), tensor((2, 4, 4), 9, 3.0), mask_grad=True)
padding = torch.ones(2, 1, 1, 6, dtype=torch.bool)
padding[0, ..., 4:] = False
padding[1, ..., 1:] = False
case("key padding", (2, 2, 3, 4), (2, 2, 6, 4), (2, 2, 6, 4), padding)
none = torch.ones(4, 4, dtype=torch.bool).tril()
none[2] = False
case("a query that sees nothing", (1, 2, 4, 4), (1, 2, 4, 4), (1, 2, 4, 4), none)
case("no heads", (3, 4, 6), (3, 4, 6), (3, 4, 6))
case("matrices", (4, 6), (5, 6), (5, 3))
case("long", (1, 1, 70, 16), (1, 1, 70, 16), (1, 1, 70, 16), is_causal=True)

path = Path("test/golden/ops/attention.json")
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")
