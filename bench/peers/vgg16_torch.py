"""VGG16 training steps in PyTorch eager, as a tutorial writes them. Prints one JSON line: milliseconds a step, peak RSS.

usage: vgg16_torch.py {tutorial|pooled} BATCH STEPS
"""
import json
import resource
import sys
import time

import torch
from torch import nn

kind, batch, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)


def features():
    layers, channels = [], 3
    for width in [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]:
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
            channels = width
    return layers


if kind == "tutorial":
    head = [
        nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(True), nn.Dropout(),
        nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 10),
    ]
else:
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
model = nn.Sequential(*features(), *head)
optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
images = torch.randn(batch, 3, 32, 32)
labels = torch.randint(0, 10, (batch,))
model.train()

times = []
for _ in range(steps + 2):
    start = time.perf_counter()
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    loss.item()
    times.append((time.perf_counter() - start) * 1000)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(json.dumps({"times": times[2:], "peakMB": peak, "threads": torch.get_num_threads(), "version": torch.__version__}))
