"""PyTorch's answers for test/parity: layers, losses, optimizers, schedules, and 20 training steps of two models.

Inputs and weights are Philox streams, drawn alike here and in test/parity/streams.ts, so that only answers are stored.
usage: python test/golden/scripts/parity.py [layers|losses|optim|training]...   (torch 2.13, CPU; no torchvision needed)
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

OUT = Path(__file__).resolve().parents[1] / "parity"
SEED = 20260301


def philox(count, stream, seed=SEED):
    """`count` u32 words of Philox4x32-10; word i is lane i & 3 of block i >> 2, as src/base/rng.ts."""
    blocks = (count + 3) // 4
    mask = np.uint64(0xFFFFFFFF)
    c = [np.arange(blocks, dtype=np.uint64), np.zeros(blocks, np.uint64)]
    c += [np.full(blocks, stream & 0xFFFFFFFF, np.uint64), np.full(blocks, stream >> 32, np.uint64)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0),
            p1 & mask,
            (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1),
            p0 & mask,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, axis=1).reshape(-1)[:count]


def uniform(stream, shape, low, high):
    n = math.prod(shape)
    u = (philox(n, stream) >> np.uint64(8)).astype(np.float64) * 2.0**-24
    return torch.tensor((u * (high - low) + low).astype(np.float32).reshape(shape))


def integers(stream, shape, below):
    words = philox(math.prod(shape), stream)
    return torch.tensor((words % np.uint64(below)).astype(np.int64).reshape(shape))


def numbers(t):
    # Nine digits name an f32 exactly.
    return [float(f"{v:.9g}") for v in t.detach().double().reshape(-1).tolist()]


def write(name, value):
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


# --- layers: forward, input and parameter gradients, buffers -----------------------------------------------------------

LAYERS = {
    "linear": (lambda: nn.Linear(5, 4), [3, 5]),
    "linear3d": (lambda: nn.Linear(5, 4, bias=False), [2, 3, 5]),
    "conv2d": (lambda: nn.Conv2d(3, 4, 3, padding=1), [2, 3, 6, 5]),
    "conv2dStrided": (lambda: nn.Conv2d(4, 6, (3, 2), stride=2, padding=(1, 0), groups=2), [2, 4, 7, 6]),
    "conv2dDilated": (lambda: nn.Conv2d(2, 3, 3, dilation=2, bias=False), [1, 2, 7, 8]),
    "batchNorm1d": (lambda: nn.BatchNorm1d(4), [6, 4]),
    "batchNorm1dLength": (lambda: nn.BatchNorm1d(3, momentum=0.3), [4, 3, 5]),
    "batchNorm2d": (lambda: nn.BatchNorm2d(3), [4, 3, 3, 2]),
    "batchNorm2dEval": (lambda: nn.BatchNorm2d(3).eval(), [2, 3, 3, 2]),
    "layerNorm": (lambda: nn.LayerNorm(6), [4, 6]),
    "layerNorm2": (lambda: nn.LayerNorm([3, 4], eps=1e-3), [2, 3, 4]),
    "relu": (nn.ReLU, [3, 7]),
    "gelu": (nn.GELU, [3, 7]),
    "geluTanh": (lambda: nn.GELU(approximate="tanh"), [3, 7]),
    "silu": (nn.SiLU, [3, 7]),
    "tanh": (nn.Tanh, [3, 7]),
    "sigmoid": (nn.Sigmoid, [3, 7]),
    "softmax": (lambda: nn.Softmax(-1), [3, 7]),
    "softmaxChannels": (lambda: nn.Softmax(1), [2, 3, 4]),
    "logSoftmax": (lambda: nn.LogSoftmax(-1), [3, 7]),
    "maxPool2d": (lambda: nn.MaxPool2d(2), [2, 3, 6, 5]),
    "maxPool2dPadded": (lambda: nn.MaxPool2d(3, stride=2, padding=1), [2, 2, 6, 7]),
    "maxPool2dCeil": (lambda: nn.MaxPool2d(3, stride=2, ceil_mode=True), [1, 2, 6, 7]),
    "avgPool2d": (lambda: nn.AvgPool2d(3, stride=2, padding=1), [2, 2, 6, 7]),
    "avgPool2dNoPad": (lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False), [2, 2, 6, 7]),
    "adaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d((2, 3)), [2, 2, 5, 7]),
    "adaptiveAvgPool2dGrow": (lambda: nn.AdaptiveAvgPool2d(7), [1, 2, 1, 3]),
    "flatten": (nn.Flatten, [2, 3, 4]),
    "embedding": (lambda: nn.Embedding(7, 3), [2, 5]),
    "sequential": (lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2)), [3, 1, 5, 5]),
}


def fill(module):
    """State tensor number i is stream 100 + i, in [-0.8, 0.8]; running variances in [0.5, 1.5]."""
    for i, (name, t) in enumerate(module.state_dict().items()):
        if name.endswith("num_batches_tracked"):
            continue
        low, high = (0.5, 1.5) if name.endswith("running_var") else (-0.8, 0.8)
        t.copy_(uniform(100 + i, t.shape, low, high))


def layers():
    out = {}
    for name, (build, shape) in LAYERS.items():
        module = build()
        fill(module)
        if name == "embedding":
            x = integers(1, shape, 7)
        else:
            x = uniform(1, shape, -2, 2).requires_grad_()
        y = module(x)
        y.backward(uniform(2, y.shape, -1, 1))
        out[name] = {
            "shape": list(y.shape),
            "y": numbers(y),
            "dx": None if x.grad is None else numbers(x.grad),
            "grads": {k: numbers(p.grad) for k, p in module.named_parameters()},
            "buffers": {k: numbers(b) for k, b in module.named_buffers()},
        }
    write("layers", out)


# --- losses -----------------------------------------------------------------------------------------------------------


def losses():
    out = {}

    def case(name, x, f):
        x = x.clone().requires_grad_()
        loss = f(x)
        seed = torch.ones(()) if loss.dim() == 0 else uniform(2, loss.shape, -1, 1)
        loss.backward(seed)
        out[name] = {"loss": numbers(loss), "dx": numbers(x.grad)}

    logits, labels = uniform(1, [6, 5], -4, 4), integers(3, [6], 5)
    ignored = labels.clone()
    ignored[[1, 4]] = -100
    weights = uniform(4, [5], 0.2, 2)
    maps, map_labels = uniform(5, [2, 4, 3, 2], -3, 3), integers(6, [2, 3, 2], 4)
    for r in ["mean", "sum", "none"]:
        case(f"crossEntropy/{r}", logits, lambda x: F.cross_entropy(x, labels, reduction=r))
        case(f"crossEntropy/smooth/{r}", logits, lambda x: F.cross_entropy(x, labels, label_smoothing=0.1, reduction=r))
        case(f"crossEntropy/weights/{r}", logits, lambda x: F.cross_entropy(x, labels, weights, reduction=r))
        case(f"crossEntropy/ignored/{r}", logits, lambda x: F.cross_entropy(x, ignored, reduction=r))
        case(
            f"crossEntropy/all/{r}",
            logits,
            lambda x: F.cross_entropy(x, ignored, weights, label_smoothing=0.2, reduction=r),
        )
        case(f"crossEntropy/maps/{r}", maps, lambda x: F.cross_entropy(x, map_labels, label_smoothing=0.1, reduction=r))
        case(f"nllLoss/{r}", logits, lambda x: F.nll_loss(x, ignored, weights, reduction=r))
    case("crossEntropy/large/mean", logits * 1000, lambda x: F.cross_entropy(x, labels))

    x, y = uniform(7, [4, 5], -3, 3), uniform(8, [4, 5], -3, 3)
    p, q = uniform(9, [4, 5], 0.01, 0.99), uniform(10, [4, 5], 0, 1)
    p[0, :2] = torch.tensor([0.0, 1.0])
    hard = (q > 0.5).float()
    for r in ["mean", "sum", "none"]:
        case(f"mseLoss/{r}", x, lambda x: F.mse_loss(x, y, reduction=r))
        case(f"l1Loss/{r}", x, lambda x: F.l1_loss(x, y, reduction=r))
        case(f"huberLoss/{r}", x, lambda x: F.huber_loss(x, y, delta=0.7, reduction=r))
        case(f"smoothL1Loss/{r}", x, lambda x: F.smooth_l1_loss(x, y, beta=0.7, reduction=r))
        case(f"bceWithLogitsLoss/{r}", x, lambda x: F.binary_cross_entropy_with_logits(x, q, reduction=r))
        case(f"bceLoss/{r}", p, lambda x: F.binary_cross_entropy(x, hard, reduction=r))
    write("losses", out)


# --- optimizers and schedules ------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05),
    "sgdMomentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "sgdDampening": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.8, dampening=0.3, weight_decay=0.02),
    "sgdNesterov": lambda p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamL2": lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01),
    "adamwDecay": lambda p: torch.optim.AdamW(p, lr=0.02, betas=(0.7, 0.9), weight_decay=0.2),
}
STEPS = 20


def optim():
    trajectories = {}
    for name, build in OPTIMIZERS.items():
        p = uniform(1, [12], -1, 1).requires_grad_()
        optimizer = build([p])
        path = []
        for step in range(STEPS):
            # The gradient depends on where p is, so that an error would grow.
            p.grad = (p.detach() * uniform(2, [12], 0.5, 2) + uniform(100 + step, [12], -0.3, 0.3)).clone()
            optimizer.step()
            path.append(numbers(p))
        trajectories[name] = path

    # A parameter that joins late counts its own steps.
    late = {}
    for name, build in OPTIMIZERS.items():
        a, b = uniform(1, [3], -1, 1).requires_grad_(), uniform(3, [3], -1, 1).requires_grad_()
        optimizer = build([a, b])
        for step in range(8):
            a.grad = uniform(100 + step, [3], -1, 1)
            b.grad = uniform(200 + step, [3], -1, 1) if step >= 4 else None
            optimizer.step()
        late[name] = numbers(b)

    def curve(make, steps):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        schedule = make(optimizer)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return rates

    S = torch.optim.lr_scheduler
    schedules = {
        "step": curve(lambda o: S.StepLR(o, 7, gamma=0.3), 30),
        "cosine": curve(lambda o: S.CosineAnnealingLR(o, 29, eta_min=0.01), 30),
        "linear": curve(lambda o: S.LinearLR(o, 1.0, 0.2, total_iters=29), 30),
        "oneCycle": curve(lambda o: S.OneCycleLR(o, 0.5, total_steps=40, pct_start=0.25, div_factor=20, final_div_factor=100), 40),
    }

    clip = {}
    for name, limit in {"above": 0.5, "below": 50.0}.items():
        ps = [torch.zeros(6, requires_grad=True), torch.zeros(2, 3, requires_grad=True)]
        for i, p in enumerate(ps):
            p.grad = uniform(i + 1, p.shape, -2, 2)
        norm = torch.nn.utils.clip_grad_norm_(ps, limit)
        clip[name] = {"norm": norm.item(), "grads": [numbers(p.grad) for p in ps]}
    write("optim", {"trajectories": trajectories, "late": late, "schedules": schedules, "clip": clip})


# --- training: 20 steps -----------------------------------------------------------------------------------------------


class MnistCnn(nn.Module):
    """https://github.com/pytorch/examples/tree/main/mnist without its dropout, whose masks are another generator's."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return self.fc2(F.relu(self.fc1(torch.flatten(x, 1))))


class Vgg11Bn(nn.Module):
    """torchvision's vgg11_bn features with the pooled classifier of src/models/vgg.ts."""

    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for v in [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"]:
            if v == "M":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels, v, 3, padding=1), nn.BatchNorm2d(v), nn.ReLU()]
                channels = v
        self.features, self.avgpool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(0), nn.Linear(512, 10))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


# Model, shape, learning rates. Batch norm over few samples is chaotic: at batch 8 and ordinary rates PyTorch in f32 leaves
# PyTorch in f64 by 1e-3 within twenty steps. VGG's batch and rates are ones at which the two agree to 1e-5.
SGD, ADAMW = torch.optim.SGD, torch.optim.AdamW
TRAINING = {
    "mnistCnn/sgd": (MnistCnn, [8, 1, 28, 28], lambda p: SGD(p, lr=0.01, momentum=0.9, weight_decay=5e-4)),
    "mnistCnn/adamw": (MnistCnn, [8, 1, 28, 28], lambda p: ADAMW(p, lr=1e-4, weight_decay=0.05)),
    # Small steps: with batch norm over the 8 values of a 1x1 map, VGG at lr 1e-3 is chaotic. PyTorch with one thread and
    # with two then differ by 2e-2 within 20 steps, and in f32 and f64 by 5e-2. At these rates f32 and f64 agree to 3e-6,
    # while training still moves the losses by more than 0.1: an answer within 1e-4 has really made the same steps.
    "vgg11Bn/sgd": (
        Vgg11Bn,
        [8, 3, 32, 32],
        lambda p: SGD(p, lr=2e-5, momentum=0.9, nesterov=True, weight_decay=5e-4),
    ),
    "vgg11Bn/adamw": (Vgg11Bn, [8, 3, 32, 32], lambda p: ADAMW(p, lr=1e-5, weight_decay=0.05)),
}
STEPS_OF_TRAINING = 20


def initial(model):
    """He uniform from stream 1000 + i for what has more than one dimension; the rest as PyTorch's norm layers start, biases 0."""
    for i, (name, t) in enumerate(model.state_dict().items()):
        if t.dim() > 1:
            bound = math.sqrt(6 / math.prod(t.shape[1:]))
            t.copy_(uniform(1000 + i, t.shape, -bound, bound))
        elif name.endswith(".bias"):
            t.zero_()


def train(model, make, shape, dtype=torch.float32):
    initial(model)
    model.to(dtype)
    optimizer = make(model.parameters())
    losses = []
    for step in range(STEPS_OF_TRAINING):
        x, y = uniform(10 + step, shape, -1, 1).to(dtype), integers(40 + step, shape[:1], 10)
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def training():
    out = {}
    for name, (build, shape, make) in TRAINING.items():
        model = build()
        losses = train(model, make, shape)
        model.eval()
        with torch.no_grad():
            logits = model(uniform(70, shape, -1, 1))
        # Sums of absolute values: a checksum that small differences move little.
        sums = {k: float(f"{t.double().abs().sum().item():.9g}") for k, t in model.state_dict().items()}
        out[name] = {"losses": [float(f"{v:.9g}") for v in losses], "logits": numbers(logits), "sums": sums}

        # How far PyTorch is from itself, and how far training went: the goldens mean something only between the two.
        def apart(other):
            return max(abs(a / b - 1) for a, b in zip(losses, other))

        exact = train(build(), make, shape, torch.float64)
        still = train(build(), lambda p: torch.optim.SGD(p, lr=0), shape)
        print(f"{name}: f32 to f64 {apart(exact):.1e}, to no training {apart(still):.1e}, loss {losses[0]:.3f} {losses[-1]:.3f}")
    write("training", out)


if __name__ == "__main__":
    parts = {"layers": layers, "losses": losses, "optim": optim, "training": training}
    for part in sys.argv[1:] or parts:
        parts[part]()
