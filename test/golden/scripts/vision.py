"""PyTorch's answers for the vision layers and models of test/parity, by the streams of parity.py beside this file.

usage: python test/golden/scripts/vision.py [layers|models|plain|generative|vit]...   (torch 2.13, CPU)
"""

import copy
import sys
import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from parity import fill, initial, integers, numbers, uniform, write
from vision_models import CLASSIFIERS, PLAIN, ConvVAE, Discriminator, Generator

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


# --- classifiers: names and shapes, logits, gradients, three steps of SGD ------------------------------------------------

# Small enough that f32 sums in another order stay together; images are 40 wide, so that maps have odd sides too.
BATCH, SIDE, RATE = 4, 40, 1e-4


def significant(v):
    return float(f"{v:.9g}")


def checksums(tensors):
    return {k: significant(t.double().abs().sum().item()) for k, t in tensors}


def models(classifiers=CLASSIFIERS, file="vision-models"):
    out = {}
    for name, build in classifiers.items():
        model = build()
        with torch.no_grad():
            initial(model)
        start = copy.deepcopy(model)
        model.eval()
        shapes = {k: list(t.shape) for k, t in model.state_dict().items()}
        with torch.no_grad():
            logits = model(uniform(70, [BATCH, 3, SIDE, SIDE], -1, 1))
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
        losses, grads = [], {}
        # ResNet-50 is chaotic with these weights and so few images: after a step PyTorch in f32 has left PyTorch in f64. VGGs
        # are large and all alike.
        for step in range(1 if name == "resnet50" or name.startswith("vgg") else 3):
            x, y = uniform(10 + step, [BATCH, 3, SIDE, SIDE], -1, 1), integers(40 + step, [BATCH], 10)
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            if step == 0:
                grads = checksums((k, p.grad) for k, p in model.named_parameters())
                exact = copy.deepcopy(start).double().train()
                F.cross_entropy(exact(x.double()), y).backward()
                wanted = checksums((k, p.grad) for k, p in exact.named_parameters())
                worst = max(abs(grads[k] - wanted[k]) / max(wanted[k], 1e-3) for k in grads)
                grads = wanted
            optimizer.step()
            losses.append(significant(loss.item()))
        out[name] = {"shapes": shapes, "logits": numbers(logits), "losses": losses, "grads": grads}
        print(name, losses, f"gradients: f32 to f64 {worst:.1e}")
    write(file, out)


# --- GAN and VAE -----------------------------------------------------------------------------------------------------------


def generative():
    generator, discriminator = Generator(16, 8), Discriminator(8)
    with torch.no_grad():
        initial(generator)
        initial(discriminator)
    adam = lambda m: torch.optim.Adam(m.parameters(), lr=2e-4, betas=(0.5, 0.999))  # noqa: E731
    of_generator, of_discriminator = adam(generator), adam(discriminator)
    judge = lambda p, label: F.binary_cross_entropy(p, torch.full_like(p, label))  # noqa: E731
    gan = {"generator": [], "discriminator": []}
    for step in range(4):
        real, noise = uniform(10 + step, [8, 3, 32, 32], -1, 1), uniform(20 + step, [8, 16], -2, 2)
        fake = generator(noise)
        of_discriminator.zero_grad()
        loss = judge(discriminator(real), 1.0) + judge(discriminator(fake.detach()), 0.0)
        loss.backward()
        of_discriminator.step()
        of_generator.zero_grad()
        fooled = judge(discriminator(fake), 1.0)
        fooled.backward()
        of_generator.step()
        gan["discriminator"].append(significant(loss.item()))
        gan["generator"].append(significant(fooled.item()))
    gan["shapes"] = {
        f"{name}.{k}": list(t.shape)
        for name, m in [("generator", generator), ("discriminator", discriminator)]
        for k, t in m.state_dict().items()
    }

    vae = ConvVAE(6, 4)
    with torch.no_grad():
        initial(vae)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-3)
    losses = []
    for step in range(4):
        loss = vae(uniform(10 + step, [8, 1, 28, 28], 0, 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(significant(loss.item()))
    shapes = {k: list(t.shape) for k, t in vae.state_dict().items()}
    write("generative", {"gan": gan, "vae": {"losses": losses, "shapes": shapes}})
    print(gan["discriminator"], gan["generator"], losses)


# --- ViT: transformers', by the names of its weight files ---------------------------------------------------------------------


def vit():
    from safetensors.torch import load_file, save_file
    from transformers import ViTConfig, ViTForImageClassification

    sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
    model = ViTForImageClassification(ViTConfig(**sizes, image_size=12, patch_size=4, num_labels=5))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        file = Path(folder) / "model.safetensors"
        names = sorted(load_file(file))
        shapes = {k: list(t.shape) for k, t in load_file(file).items()}
        # Sorted, since files are; norms are not left at 1 and 0.
        weights = {k: uniform(1000 + i, shapes[k], -0.4, 0.4) for i, k in enumerate(names)}
        save_file(weights, file, {"format": "pt"})
        model = ViTForImageClassification.from_pretrained(folder).eval()
        x = uniform(70, [3, 3, 12, 12], -1, 1).requires_grad_()
        loss = F.cross_entropy(logits := model(x).logits, integers(40, [3], 5))
        loss.backward()
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(p.grad)
        model.save_pretrained(folder)
        grads = checksums(sorted(load_file(file).items()))
    shapes = {k: shapes[k] for k in names}
    write("vit", {"shapes": shapes, "logits": numbers(logits), "dx": numbers(x.grad), "grads": grads})


if __name__ == "__main__":
    parts = {"layers": layers, "models": models, "plain": lambda: models(PLAIN, "vision-models-plain"), "generative": generative, "vit": vit}
    for part in sys.argv[1:] or parts:
        parts[part]()
