"""One workload in one process, steered by lines on stdin; answers are lines of JSON on stdout.

usage: torch_worker.py WORKLOAD {eager|tuned|bf16} FOLDER
    FOLDER holds weights.safetensors and batch.safetensors, so that both sides do the same work.
    check -> {"loss": of the batch, without dropout}      run N -> {"times": [ms], "peakMB": n}
"""
import contextlib
import json
import resource
import sys
import time
from functools import partial

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import torch_models as models

workload, variant, folder = sys.argv[1:4]
tuned = variant != "eager"
if tuned:
    torch.set_float32_matmul_precision("medium")
torch.manual_seed(0)
weights, batch = load_file(f"{folder}/weights.safetensors"), load_file(f"{folder}/batch.safetensors")
autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16) if variant == "bf16" else contextlib.nullcontext


def prepare(module, state, image):
    module.load(state) if hasattr(module, "load") else module.load_state_dict(state)
    if tuned and image:
        module.to(memory_format=torch.channels_last)
    return module


def adamw(module, **options):
    return torch.optim.AdamW(module.parameters(), **{"lr": 2e-5, **options}, fused=tuned or None)


def supervised(module, image=True, criterion=F.cross_entropy):
    """step() and check() of a model, a batch x, y and a loss."""
    prepare(module, weights, image)
    x, y = batch["x"], batch.get("y")
    if y is not None:
        y = y.long()
    if not x.is_floating_point():
        x = x.long()
    if tuned and image and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    optimizer = adamw(module)

    def loss():
        with autocast():
            out = module(x)
            return out if y is None else criterion(out.flatten(0, -2), y.flatten())

    def step():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.item()

    def check():
        module.eval()
        with torch.no_grad():
            value = loss().item()
        module.train()
        return value

    module.train()
    return step, check


def features():
    module = prepare(models.vgg16("pooled"), weights, True).eval()
    x = batch["x"].contiguous(memory_format=torch.channels_last) if tuned else batch["x"]

    def step():
        with torch.inference_mode(), autocast():
            return module.avgpool(module.features(x)).float().mean().item()

    return step, step


def gan():
    part = lambda name: {k.removeprefix(name + "."): v for k, v in weights.items() if k.startswith(name + ".")}
    generator = prepare(models.Generator(), part("generator"), True)
    discriminator = prepare(models.Discriminator(), part("discriminator"), True)
    options = {"lr": 2e-4, "betas": (0.5, 0.999), "weight_decay": 0.0}
    of_generator, of_discriminator = adamw(generator, **options), adamw(discriminator, **options)
    real, noise = batch["x"], batch["z"]
    if tuned:
        real = real.contiguous(memory_format=torch.channels_last)
    judged = lambda x, label: F.binary_cross_entropy_with_logits(discriminator(x), torch.full((len(x),), label))

    def step():
        of_discriminator.zero_grad()
        with autocast():
            fake = generator(noise)
            loss = judged(real, 1.0) + judged(fake.detach(), 0.0)
        loss.backward()
        of_discriminator.step()
        of_generator.zero_grad()
        with autocast():
            fooled = judged(fake, 1.0)
        fooled.backward()
        of_generator.step()
        return loss.item() + fooled.item()

    def check():
        with torch.no_grad():
            fake = generator(noise)
            return (judged(real, 1.0) + judged(fake, 0.0)).item()

    return step, check


bert = dict(vocab_size=30522, max_position_embeddings=512, num_labels=2)
workloads = {
    "W1": lambda: supervised(models.vgg16("torchvision")),
    "W1-128": lambda: supervised(models.vgg16("torchvision")),
    "W2": lambda: supervised(models.vgg16("pooled")),
    "W2b": features,
    "W3": lambda: supervised(models.vgg16("torchvision")),
    "W4a": lambda: supervised(models.ResNet18(False, 1000)),
    "W4b": lambda: supervised(models.ResNet18(False, 10)),
    "W5": lambda: supervised(models.BertClassifier(bert), image=False),
    "W5t": lambda: supervised(
        models.BertClassifier({**bert, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
                               "intermediate_size": 1024}), image=False),
    "W6": lambda: supervised(models.GPT(65, 256, 6, 6, 384), image=False),
    "W7": lambda: supervised(models.LSTMClassifier(), image=False),
    "W8c": lambda: supervised(models.MnistCnn()),
    "W8m": lambda: supervised(models.MLP(), image=False),
    "W9": gan,
    "W10": lambda: supervised(models.ConvVAE()),
}
step, check = workloads[workload]()
print(json.dumps({"ready": True, "version": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
for line in sys.stdin:
    command, *rest = line.split()
    if command == "check":
        print(json.dumps({"loss": check()}), flush=True)
        continue
    times = []
    for _ in range(int(rest[0])):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) * 1000)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"times": times, "peakMB": peak}), flush=True)
