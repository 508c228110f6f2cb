"""Our networks in PyTorch; AlexNet and VGG with torchvision's parameter names.

Written after torchvision.models.alexnet and torchvision.models.vgg. Imports torch and
nothing else, so that ``benchmarks.torch_peer`` runs where torch is.
"""

import torch
from torch import nn

_VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
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


def vgg11(outputs):
    layers, channels = [], 3
    for width in _VGG11:
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
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
