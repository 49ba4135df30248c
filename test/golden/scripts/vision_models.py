"""The vision models as torchvision 0.2x, pytorch-cifar-models, pytorch_resnet_cifar10 and PyTorch's DCGAN tutorial define
them: the same modules and names, written out because none of these is a dependency of the goldens."""

import torch
from torch import nn
from torch.nn import functional as F


def conv(a, b, kernel, stride=1):
    return nn.Conv2d(a, b, kernel, stride, kernel // 2, bias=False)


def downsample(a, b, stride):
    return None if stride == 1 and a == b else nn.Sequential(conv(a, b, 1, stride), nn.BatchNorm2d(b))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, a, width, stride, pad):
        super().__init__()
        self.conv1, self.bn1 = conv(a, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.pad = (width - a) // 2 if pad else None
        self.downsample = None if pad else downsample(a, width, stride)

    def shortcut(self, x):
        if self.pad:
            return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return x if self.downsample is None else self.downsample(x)

    def forward(self, x):
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(h + self.shortcut(x))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, a, width, stride, pad):
        super().__init__()
        self.conv1, self.bn1 = conv(a, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample = downsample(a, 4 * width, stride)

    def forward(self, x):
        h = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        h = self.bn3(self.conv3(h))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, block, blocks, widths, classes=10, small=False, pad=False):
        super().__init__()
        a = widths[0]
        self.conv1 = conv(3, a, 3) if small else conv(3, a, 7, 2)
        self.bn1 = nn.BatchNorm2d(a)
        self.small, self.stages = small, len(blocks)
        for i, (count, width) in enumerate(zip(blocks, widths)):
            layers = []
            for j in range(count):
                layers.append(block(a, width, 2 if i > 0 and j == 0 else 1, pad))
                a = width * block.expansion
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
        self.head = "linear" if pad else "fc"
        setattr(self, self.head, nn.Linear(a, classes))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = F.max_pool2d(x, 3, 2, 1)
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class VGG(nn.Module):
    """torchvision's without norms, and a global average and one linear layer in place of its classifier."""

    def __init__(self, counts, classes=10):
        super().__init__()
        layers, a = [], 3
        for count, width in zip(counts, [64, 128, 256, 512, 512]):
            for _ in range(count):
                layers += [nn.Conv2d(a, width, 3, padding=1), nn.ReLU()]
                a = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Linear(512, classes))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Fire(nn.Module):
    def __init__(self, a, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(a, squeeze, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    def __init__(self, classes=10, dropout=0.0):
        super().__init__()
        pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)  # noqa: E731
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool(),
            Fire(128, 32, 128), Fire(256, 32, 128), pool(),
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Conv2d(512, classes, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, x):
        return self.classifier(self.features(x)).flatten(1)


class Generator(nn.Module):
    """The tutorial's, one doubling shorter: 32x32."""

    def __init__(self, latent, width):
        super().__init__()
        up = lambda a, b, s=2, p=1: nn.ConvTranspose2d(a, b, 4, s, p, bias=False)  # noqa: E731
        self.main = nn.Sequential(
            up(latent, 4 * width, 1, 0), nn.BatchNorm2d(4 * width), nn.ReLU(),
            up(4 * width, 2 * width), nn.BatchNorm2d(2 * width), nn.ReLU(),
            up(2 * width, width), nn.BatchNorm2d(width), nn.ReLU(), up(width, 3), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z):
        return self.main(z[:, :, None, None])


class Discriminator(nn.Module):
    def __init__(self, width):
        super().__init__()
        down = lambda a, b: nn.Conv2d(a, b, 4, 2, 1, bias=False)  # noqa: E731
        self.main = nn.Sequential(
            down(3, width), nn.LeakyReLU(0.2),
            down(width, 2 * width), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            down(2 * width, 4 * width), nn.BatchNorm2d(4 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(4 * width, 1, 4, 1, 0, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        return self.main(x).flatten()


class ConvVAE(nn.Module):
    def __init__(self, latent, width):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 3, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 3, 2, 1), nn.ReLU(), nn.Flatten()
        )
        size, self.width = 2 * width * 49, width
        self.mu, self.logvar, self.expand = nn.Linear(size, latent), nn.Linear(size, latent), nn.Linear(latent, size)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(width, 1, 4, 2, 1)
        )

    def forward(self, x):
        """-ELBO per sample with z = mu: what evaluation mode computes."""
        h = self.encoder(x)
        mu, logvar = self.mu(h), self.logvar(h)
        logits = self.decoder(F.relu(self.expand(mu)).view(-1, 2 * self.width, 7, 7))
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return (reconstruction - 0.5 * (1 + logvar - mu.square() - logvar.exp()).sum()) / len(x)


IMAGENET, CIFAR = [64, 128, 256, 512], [16, 32, 64]
CLASSIFIERS = {
    "resnet18": lambda: ResNet(BasicBlock, [2, 2, 2, 2], IMAGENET),
    "resnet18Small": lambda: ResNet(BasicBlock, [2, 2, 2, 2], IMAGENET, small=True),
    "resnet34": lambda: ResNet(BasicBlock, [3, 4, 6, 3], IMAGENET),
    "resnet50": lambda: ResNet(Bottleneck, [3, 4, 6, 3], IMAGENET),
    "resnet20": lambda: ResNet(BasicBlock, [3, 3, 3], CIFAR, small=True),
    "resnet56Pad": lambda: ResNet(BasicBlock, [9, 9, 9], CIFAR, small=True, pad=True),
    "squeezenet1_1": SqueezeNet,
}
PLAIN = {
    "vgg11": lambda: VGG([1, 1, 2, 2, 2]),
    "vgg13": lambda: VGG([2, 2, 2, 2, 2]),
    "vgg16": lambda: VGG([2, 2, 3, 3, 3]),
    "vgg19": lambda: VGG([2, 2, 4, 4, 4]),
    "resnet56": lambda: ResNet(BasicBlock, [9, 9, 9], CIFAR, small=True),
}
