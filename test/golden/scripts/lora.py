"""Low-rank adaptation in PyTorch: a frozen two-layer net with adapters on its first layer and a trained head, five steps of
AdamW. Writes test/golden/parity/lora.json.   usage: python lora.py"""
import json
import pathlib

import torch

torch.manual_seed(0)
N, IN, HIDDEN, OUT, RANK, ALPHA = 6, 5, 7, 3, 2, 6.0
x = torch.randn(N, IN)
y = torch.tensor([0, 1, 2, 0, 1, 2])
first, head = torch.nn.Linear(IN, HIDDEN), torch.nn.Linear(HIDDEN, OUT)
a = torch.nn.Parameter(torch.randn(RANK, IN) * 0.3)
b = torch.nn.Parameter(torch.zeros(HIDDEN, RANK))
golden = {"x": x.tolist(), "y": y.tolist(), "rank": RANK, "alpha": ALPHA}
named = {"first.weight": first.weight, "first.bias": first.bias, "head.weight": head.weight, "head.bias": head.bias}
golden["start"] = {k: v.detach().clone().tolist() for k, v in {**named, "a": a, "b": b}.items()}
first.requires_grad_(False)
optimizer = torch.optim.AdamW([a, b, head.weight, head.bias], lr=0.05, weight_decay=0.0)
losses = []
for _ in range(5):
    h = first(x) + (x @ a.T @ b.T) * (ALPHA / RANK)
    loss = torch.nn.functional.cross_entropy(head(torch.relu(h)), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
golden["losses"] = losses
golden["end"] = {"a": a.tolist(), "b": b.tolist(), "head.weight": head.weight.tolist()}
with torch.no_grad():
    merged = first.weight + (ALPHA / RANK) * (b @ a)
    golden["logits"] = head(torch.relu(x @ merged.T + first.bias)).tolist()
path = pathlib.Path(__file__).parents[1] / "parity" / "lora.json"
path.write_text(json.dumps(golden) + "\n")
