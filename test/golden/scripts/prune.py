"""Pruning by magnitude with torch.nn.utils.prune, and five steps of AdamW of what is left. Writes test/golden/parity/prune.json.
usage: python prune.py"""
import json
import pathlib

import torch
import torch.nn.functional as F
from torch.nn.utils import prune

golden = {}
for scope in ["model", "layer"]:
    torch.manual_seed(0)
    x, y = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    first, head = torch.nn.Linear(5, 7), torch.nn.Linear(7, 3)
    start = {f"{n}.{k}": v.tolist() for n, m in [("first", first), ("head", head)] for k, v in m.state_dict().items()}
    if scope == "model":
        prune.global_unstructured([(first, "weight"), (head, "weight")], prune.L1Unstructured, amount=0.6)
    else:
        for layer in (first, head):
            prune.l1_unstructured(layer, "weight", amount=0.6)
    optimizer = torch.optim.AdamW([*first.parameters(), *head.parameters()], lr=0.05, weight_decay=0.1)
    losses = []
    for _ in range(5):
        loss = F.cross_entropy(head(torch.relu(first(x))), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():  # the weight is made from weight_orig in forward
        head(torch.relu(first(x)))
    golden[scope] = {"x": x.tolist(), "y": y.tolist(), "start": start, "losses": losses,
                     "end": {"first": first.weight.tolist(), "head": head.weight.tolist()}}
path = pathlib.Path(__file__).parents[1] / "parity" / "prune.json"
path.write_text(json.dumps(golden) + "\n")
