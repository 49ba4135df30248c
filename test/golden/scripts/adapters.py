"""Bottleneck adapters and prefixes in PyTorch: frozen layers with what is learned beside them, five steps of AdamW each.
Writes test/golden/parity/adapters.json.   usage: python adapters.py"""
import json
import pathlib

import torch
import torch.nn.functional as F

torch.manual_seed(0)


def steps(forward, parameters, y):
    optimizer = torch.optim.AdamW(parameters, lr=0.05, weight_decay=0.0)
    losses = []
    for _ in range(5):
        loss = F.cross_entropy(forward(), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "end": [p.tolist() for p in parameters]}


def parameter(*shape):
    return torch.nn.Parameter(torch.randn(*shape) * 0.3)


# Behind the first of two layers: h + up(relu(down(h))).
N, IN, HIDDEN, OUT, SIZE = 6, 5, 7, 3, 2
x, y = torch.randn(N, IN), torch.tensor([0, 1, 2, 0, 1, 2])
first, head = torch.nn.Linear(IN, HIDDEN), torch.nn.Linear(HIDDEN, OUT)
named = {"first.weight": first.weight, "first.bias": first.bias, "head.weight": head.weight, "head.bias": head.bias}
down, down_bias, up, up_bias = parameter(SIZE, HIDDEN), parameter(SIZE), parameter(HIDDEN, SIZE), parameter(HIDDEN)
learned = [down, down_bias, up, up_bias]
start = {k: v.tolist() for k, v in named.items()} | {"learned": [p.tolist() for p in learned]}


def bottleneck():
    h = first(x)
    h = h + F.linear(F.relu(F.linear(h, down, down_bias)), up, up_bias)
    return head(torch.relu(h))


bottleneck_golden = {"x": x.tolist(), "y": y.tolist(), "size": SIZE, "start": start, **steps(bottleneck, learned, y)}

# Multi-head attention whose queries look at LENGTH learned keys and values first; steps after the third are padding in row 1.
B, T, E, HEADS, LENGTH = 2, 4, 6, 2, 3
x, y = torch.randn(B, T, E), torch.tensor([1, 4])
mha = torch.nn.MultiheadAttention(E, HEADS, batch_first=True)
padding = torch.tensor([[False] * 4, [False, False, False, True]])
key, value = parameter(HEADS, LENGTH, E // HEADS), parameter(HEADS, LENGTH, E // HEADS)


def prefix(causal):
    q, k, v = (F.linear(x, mha.in_proj_weight, mha.in_proj_bias).view(B, T, 3, HEADS, -1).permute(2, 0, 3, 1, 4))
    k, v = (torch.cat([p.expand(B, *p.shape), t], 2) for p, t in ((key, k), (value, v)))
    seen = ~padding[:, None, None, :].expand(B, 1, T, T)
    if causal:
        seen = seen & torch.ones(T, T, dtype=torch.bool).tril()
    mask = torch.cat([torch.ones(B, 1, T, LENGTH, dtype=torch.bool), seen], -1)
    h = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).reshape(B, T, E)
    return mha.out_proj(h).mean(1)


named = {k: v.tolist() for k, v in mha.state_dict().items()}
start = {**named, "learned": [key.tolist(), value.tolist()]}
causal = prefix(True).tolist()
prefix_golden = {"x": x.tolist(), "y": y.tolist(), "length": LENGTH, "heads": HEADS, "start": start, "causal": causal,
                 **steps(lambda: prefix(False), [key, value], y)}

path = pathlib.Path(__file__).parents[1] / "parity" / "adapters.json"
path.write_text(json.dumps({"bottleneck": bottleneck_golden, "prefix": prefix_golden}) + "\n")
