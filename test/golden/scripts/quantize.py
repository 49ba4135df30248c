"""Weights rounded to 8 bits by PyTorch, symmetric with a scale for each output: of a linear layer, a convolution and a transposed
one. Writes test/golden/parity/quantize.json.   usage: python quantize.py"""
import json
import pathlib

import torch

torch.manual_seed(0)
golden = {}
for name, shape, axis in [("linear", (5, 7), 0), ("conv", (4, 3, 3, 3), 0), ("transposed", (3, 4, 2, 2), 1)]:
    w = torch.randn(*shape)
    w.select(axis, 1).zero_()  # an output that is always 0
    scale = w.abs().amax([i for i in range(w.dim()) if i != axis]) / 127
    safe = torch.where(scale > 0, scale, torch.ones(()))
    zero = torch.zeros(len(safe), dtype=torch.int32)
    golden[name] = {"w": w.tolist(), "rounded": torch.fake_quantize_per_channel_affine(w, safe, zero, axis, -128, 127).tolist()}
path = pathlib.Path(__file__).parents[1] / "parity" / "quantize.json"
path.write_text(json.dumps(golden) + "\n")
