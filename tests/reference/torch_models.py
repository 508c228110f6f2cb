"""Our networks in PyTorch; all but ``small`` with torchvision's parameter names.

Written after torchvision.models.alexnet, vgg and resnet. Imports torch and nothing
else, so that ``benchmarks.torch_peer`` runs where torch is.
"""

import functools

import torch
from torch import nn

_VGG_WIDTHS = (64, 128, 256, 512, 512)
_VGG_DEPTHS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
_SMALL = (32, 48, 96, 192)


class _Network(nn.Module):
    def __init__(self, features, classifier):
        super().__init__()
        self.features, self.classifier = features, classifier

    def forward(self, images):  # [B, 3, H, W] in [0, 1]
        mean = images.new_tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
        std = images.new_tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
        x = self.features((images - mean) / std)
        return self.classifier(torch.flatten(x, 1))


def alexnet(outputs):
    features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
    )
    classifier = nn.Sequential(
        nn.Dropout(),
        nn.Linear(9216, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, outputs),
    )
    return _Network(features, classifier).eval()


def _vgg(depths, batch_norm, outputs):
    layers, channels = [], 3
    for depth, width in zip(depths, _VGG_WIDTHS, strict=True):
        for _ in range(depth):
            layers.append(nn.Conv2d(channels, width, 3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    classifier = nn.Sequential(
        nn.Linear(25088, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, outputs),
    )
    return _Network(nn.Sequential(*layers), classifier).eval()


class _Block(nn.Module):
    def __init__(self, channels, width, stride, bottleneck):
        super().__init__()
        self.bottleneck = bottleneck
        out = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            self.conv3 = nn.Conv2d(width, out, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(out)
        else:
            self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(torch.relu(y)))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class _ResNet(nn.Module):
    def __init__(self, depths, bottleneck, outputs):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for group, depth in enumerate(depths, start=1):
            blocks, width = [], 32 * 2**group
            for position in range(depth):
                stride = 2 if group > 1 and position == 0 else 1
                blocks.append(_Block(channels, width, stride, bottleneck))
                channels = 4 * width if bottleneck else width
            setattr(self, f"layer{group}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, outputs)

    def forward(self, images):  # [B, 3, H, W] in [0, 1]
        mean = images.new_tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)
        std = images.new_tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)
        x = torch.relu(self.bn1(self.conv1((images - mean) / std)))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return self.fc(x.mean(dim=(2, 3)))


def _resnet(depths, bottleneck, outputs):
    return _ResNet(depths, bottleneck, outputs).eval()


for _name, _depths in _VGG_DEPTHS.items():
    globals()[_name] = functools.partial(_vgg, _depths, False)
    globals()[f"{_name}_bn"] = functools.partial(_vgg, _depths, True)
resnet18 = functools.partial(_resnet, (2, 2, 2, 2), False)
resnet34 = functools.partial(_resnet, (3, 4, 6, 3), False)
resnet50 = functools.partial(_resnet, (3, 4, 6, 3), True)


def small(outputs):
    layers, channels = [], 3
    for number, width in enumerate(_SMALL, start=1):
        stride = 2 if number == 1 else 1
        layers.append(nn.Conv2d(channels, width, 3, stride=stride, padding=1))
        if number < len(_SMALL):
            layers.append(nn.MaxPool2d(2, 2))
        layers.append(nn.ReLU())
        channels = width
    classifier = nn.Sequential(
        nn.Linear(channels, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, outputs)
    )
    layers.append(nn.AdaptiveMaxPool2d(1))
    return _Network(nn.Sequential(*layers), classifier).eval()
