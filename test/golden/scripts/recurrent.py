"""Writes test/golden/ops/recurrent.json: torch's LSTM, GRU, RNN and their cells, outputs, states and gradients, in float64.

usage: python test/golden/scripts/recurrent.py   (torch 2.13, CPU; from the repository root)
"""
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


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


def weights(module):
    module.double()
    for i, p in enumerate(module.parameters()):
        p.data = tensor(tuple(p.shape), 20 + i, 0.6)
    return [n for n, _ in module.named_parameters()]


cases = {}


def layer(name, kind, steps, batch, inputs, hidden, lengths=None, state=False, **options):
    module = getattr(nn, kind)(inputs, hidden, **options)
    keys = weights(module)
    directions = 2 if options.get("bidirectional") else 1
    shape = (batch, steps, inputs) if options.get("batch_first") else (steps, batch, inputs)
    x = tensor(shape, 1, 2.0, grad=True)
    s = (options.get("num_layers", 1) * directions, batch, hidden)
    h0, c0 = (tensor(s, 2, 1.0, grad=True), tensor(s, 3, 1.0, grad=True)) if state else (None, None)
    given = ((h0, c0) if kind == "LSTM" else h0) if state else None
    if lengths is None:
        y, last = module(x, given)
    else:
        first = options.get("batch_first", False)
        packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=first, enforce_sorted=False)
        y, last = module(packed, given)
        y = pad_packed_sequence(y, batch_first=first, total_length=steps)[0]
    states = list(last) if kind == "LSTM" else [last]
    loss = (y * tensor(tuple(y.shape), 999)).sum()
    for i, t in enumerate(states):
        loss = loss + (t * tensor(tuple(t.shape), 1000 + i)).sum()
    leaves = [x] + ([h0] + ([c0] if kind == "LSTM" else []) if state else []) + list(module.parameters())
    cases[name] = {
        "kind": kind, "sizes": [steps, batch, inputs, hidden], "lengths": lengths, "state": state,
        "options": {k: v for k, v in options.items()}, "keys": keys,
        "output": flat(y), "shape": list(y.shape), "states": [flat(t) for t in states],
        "grads": [flat(g) for g in torch.autograd.grad(loss, leaves)],
    }


def cell(name, kind, batch, inputs, hidden, **options):
    module = getattr(nn, kind)(inputs, hidden, **options)
    keys = weights(module)
    x, h, c = (tensor((batch, n), i + 1, 1.0, grad=True) for i, n in enumerate((inputs, hidden, hidden)))
    out = module(x, (h, c)) if kind == "LSTMCell" else (module(x, h),)
    loss = sum((t * tensor(tuple(t.shape), 1000 + i)).sum() for i, t in enumerate(out))
    leaves = [x, h] + ([c] if kind == "LSTMCell" else []) + list(module.parameters())
    cases[name] = {
        "kind": kind, "sizes": [batch, inputs, hidden], "options": options, "keys": keys,
        "states": [flat(t) for t in out], "grads": [flat(g) for g in torch.autograd.grad(loss, leaves)],
    }


for kind in ("LSTM", "GRU", "RNN"):
    layer(f"{kind}", kind, 5, 3, 4, 7)
    layer(f"{kind} with a state", kind, 3, 2, 3, 5, state=True)
    layer(f"{kind} bidirectional, batch first", kind, 4, 3, 5, 3, state=True, bidirectional=True, batch_first=True)
    layer(f"{kind} two layers, no bias", kind, 4, 2, 3, 5, num_layers=2, bias=False)
    layer(f"{kind} packed", kind, 6, 4, 3, 5, lengths=[3, 6, 1, 5], state=True)
    layer(
        f"{kind} packed, two layers, bidirectional, batch first", kind, 5, 3, 2, 3, lengths=[5, 2, 3],
        num_layers=2, bidirectional=True, batch_first=True,
    )
    layer(f"{kind} wide", kind, 2, 9, 3, 19)
    cell(f"{kind}Cell", f"{kind}Cell", 3, 4, 5)
layer("RNN relu", "RNN", 5, 3, 4, 7, nonlinearity="relu")
cell("RNNCell relu, no bias", "RNNCell", 3, 4, 5, nonlinearity="relu", bias=False)

path = Path("test/golden/ops/recurrent.json")
path.write_text(json.dumps(cases, separators=(",", ":")) + "\n")
print(f"{path}: {len(cases)} cases, {path.stat().st_size} bytes")
