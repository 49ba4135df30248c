"""PyTorch's answers for the vision layers and models of test/parity, by the streams of parity.py beside this file.

usage: python test/golden/scripts/vision.py [layers]...   (torch 2.13, CPU)
"""

import sys

from torch import nn

from parity import fill, numbers, uniform, write

LAYERS = {
    "convTranspose2d": (lambda: nn.ConvTranspose2d(3, 4, 3), [2, 3, 5, 4]),
    "convTranspose2dStrided": (lambda: nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), [2, 4, 4, 3]),
    "convTranspose2dOutputPadding": (lambda: nn.ConvTranspose2d(3, 2, 3, 2, 1, 1), [2, 3, 4, 5]),
    "convTranspose2dGroups": (
        lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), (1, 0), (0, 2), groups=2),
        [2, 4, 4, 3],
    ),
    "convTranspose2dDilated": (lambda: nn.ConvTranspose2d(2, 3, 3, 1, 1, 2, dilation=3), [1, 2, 5, 4]),
    "convTranspose2dPoint": (lambda: nn.ConvTranspose2d(5, 4, 4, bias=False), [3, 5, 1, 1]),
    "upsampleNearest": (lambda: nn.Upsample(scale_factor=2), [2, 2, 3, 4]),
    "upsampleNearestSize": (lambda: nn.Upsample((5, 3)), [2, 2, 3, 4]),
    "upsampleNearestFactor": (lambda: nn.Upsample(scale_factor=1.7), [1, 2, 5, 4]),
    "upsampleBilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), [2, 2, 3, 4]),
    "upsampleBilinearSize": (lambda: nn.Upsample((7, 3), mode="bilinear"), [2, 2, 3, 4]),
    "upsampleBilinearCorners": (lambda: nn.Upsample((5, 8), mode="bilinear", align_corners=True), [1, 2, 3, 4]),
    "groupNorm": (lambda: nn.GroupNorm(2, 6), [3, 6, 4, 3]),
    "groupNorm2": (lambda: nn.GroupNorm(3, 6, eps=1e-3), [4, 6, 2]),
    "groupNormPlain": (lambda: nn.GroupNorm(1, 4, affine=False), [2, 4, 3, 3]),
    "instanceNorm1d": (lambda: nn.InstanceNorm1d(3), [2, 3, 5]),
    "instanceNorm2d": (lambda: nn.InstanceNorm2d(3, affine=True), [2, 3, 4, 3]),
    "leakyRelu": (lambda: nn.LeakyReLU(0.2), [3, 7]),
    "elu": (lambda: nn.ELU(1.3), [3, 7]),
    "softplus": (lambda: nn.Softplus(2), [3, 7]),
    "hardtanh": (lambda: nn.Hardtanh(-0.7, 1.1), [3, 7]),
    "relu6": (nn.ReLU6, [3, 7]),
    "prelu": (nn.PReLU, [3, 7]),
    "preluChannels": (lambda: nn.PReLU(4), [2, 4, 3, 2]),
}


def layers():
    out = {}
    for name, (build, shape) in LAYERS.items():
        module = build()
        fill(module)
        x = uniform(1, shape, -2, 2).requires_grad_()
        y = module(x)
        y.backward(uniform(2, y.shape, -1, 1))
        out[name] = {
            "shape": list(y.shape),
            "y": numbers(y),
            "dx": numbers(x.grad),
            "grads": {k: numbers(p.grad) for k, p in module.named_parameters()},
            "buffers": {k: numbers(b) for k, b in module.named_buffers()},
        }
    write("vision-layers", out)


if __name__ == "__main__":
    parts = {"layers": layers}
    for part in sys.argv[1:] or parts:
        parts[part]()
