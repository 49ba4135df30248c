"""PyTorch's answers for test/parity/tuning.test.ts: parameter groups with rates and decays of their own, weights averaged by
AveragedModel, a layer that joins late, and batch norm kept in evaluation while the rest trains.

usage: python test/golden/scripts/tuning.py   (torch 2.13, CPU)
"""

import torch
from parity import initial, numbers, uniform, write
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

STEPS = 12
JOIN = 6


def model():
    # Without a bias: before batch norm it has no true gradient, and Adam would scale its rounding error to a full step.
    net = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3))
    initial(net)
    return net


def groups(net):
    conv, norm, head = net[0], net[1], net[4]
    return [
        {"params": [conv.weight], "lr": 0.01 * 0.1, "weight_decay": 0.3},
        {"params": [head.weight], "lr": 0.01, "weight_decay": 0.05},
        {"params": [norm.weight, norm.bias, head.bias], "lr": 0.01, "weight_decay": 0.0},
    ]


def run(optimizer_of, frozen_norm):
    net = model()
    optimizer = optimizer_of(net)
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.8))
    net.train()
    if frozen_norm:
        net[1].eval().requires_grad_(False)
    losses = []
    for step in range(STEPS):
        net[0].requires_grad_(step >= JOIN)
        x = uniform(500 + step, (4, 2, 5, 5), -1, 1)
        y = torch.tensor([step % 3, (step + 1) % 3, 2, 0])
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        average.update_parameters(net)
        losses.append(loss)
    average.eval()
    out = average(uniform(499, (4, 2, 5, 5), -1, 1))
    return {
        "losses": numbers(torch.stack(losses)),
        "weights": {k: numbers(v) for k, v in net.named_parameters()},
        "averages": {k: numbers(v) for k, v in average.module.named_parameters()},
        "mean": numbers(net[1].running_mean),
        "answers": numbers(out),
    }


adamw = lambda net: torch.optim.AdamW(groups(net), lr=0.01)
sgd = lambda net: torch.optim.SGD(groups(net), lr=0.01, momentum=0.9)
write(
    "tuning",
    {
        "adamw": run(adamw, False),
        "sgd": run(sgd, False),
        "frozenNorm": run(adamw, True),
    },
)
