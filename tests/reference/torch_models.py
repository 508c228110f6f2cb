"""AlexNet and VGG in PyTorch, with torchvision's parameter names.

Written after torchvision.models.alexnet and torchvision.models.vgg; torch is optional.
"""

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

_VGG11 = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")


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
