"""ProS-GAN in NumPy, double precision: sums over kernel places, one layer a line."""

import numpy as np


def conv(x, kernel, stride=1, pad=0):
    """Cross-correlation of [B, H, W, I] with [h, w, I, O], zero padded."""
    x = np.pad(np.asarray(x, float), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    height, width = kernel.shape[:2]
    rows = (x.shape[1] - height) // stride + 1
    columns = (x.shape[2] - width) // stride + 1
    y = np.zeros((len(x), rows, columns, kernel.shape[3]))
    for i in range(height):
        for j in range(width):
            part = x[
                :, i : i + stride * rows : stride, j : j + stride * columns : stride
            ]
            y += part @ np.asarray(kernel[i, j], float)
    return y


def up(x, kernel):
    """Transposed convolution 4x4: each pixel paints the kernel, two pixels apart."""
    batch, height, width, _ = x.shape
    y = np.zeros((batch, 2 * height + 2, 2 * width + 2, kernel.shape[3]))
    for i in range(4):
        for j in range(4):
            part = np.asarray(x, float) @ np.asarray(kernel[i, j], float)
            y[:, i : i + 2 * height : 2, j : j + 2 * width : 2] += part
    return y[:, 1:-1, 1:-1]  # padding 1


def instance_norm(x):
    """Mean 0 and variance 1 of each image's channels."""
    y = np.empty_like(x)
    for image in range(len(x)):
        for channel in range(x.shape[3]):
            plane = x[image, :, :, channel]
            root = np.sqrt(plane.var() + 1e-5)
            y[image, :, :, channel] = (plane - plane.mean()) / root
    return y


def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0)


def generator(params, images, features, blocks=6):
    """Adversarial images in [0, 1]; ``params`` as NumPy arrays."""
    x = 2 * np.asarray(images, float) - 1
    batch, height, width, _ = x.shape
    layer = {
        name: {k: np.asarray(v) for k, v in p.items()} for name, p in params.items()
    }

    def kernel(name):
        return layer[name]["kernel"]

    z = relu(features @ kernel("label_fc") + layer["label_fc"]["bias"])
    z = z.reshape(batch, height // 16, width // 16, -1)
    for number in (1, 2, 3, 4):
        z = relu(instance_norm(up(z, kernel(f"label_up{number}"))))
    z = conv(z, kernel("label_conv"), pad=1)
    y = np.concatenate([x, z], axis=-1)
    y = relu(instance_norm(conv(y, kernel("conv1"), pad=3)))
    y = relu(instance_norm(conv(y, kernel("conv2"), stride=2, pad=1)))
    y = relu(instance_norm(conv(y, kernel("conv3"), stride=2, pad=1)))
    for number in range(1, blocks + 1):
        z = relu(instance_norm(conv(y, kernel(f"block{number}_conv1"), pad=1)))
        y = y + instance_norm(conv(z, kernel(f"block{number}_conv2"), pad=1))
    y = relu(instance_norm(up(y, kernel("up1"))))
    y = relu(instance_norm(up(y, kernel("up2"))))
    y = conv(np.concatenate([y, x], axis=-1), kernel("conv4"), pad=1)
    return (np.tanh(y) + 1) / 2


def power_iteration(kernel, u):
    """(sigma, v, u) of PyTorch's matrix [O, I h w], in our order of its columns."""
    matrix = np.asarray(kernel, float).reshape(-1, kernel.shape[3]).T
    v = matrix.T @ u
    v /= np.linalg.norm(v)
    u = matrix @ v
    u /= np.linalg.norm(u)
    return u @ matrix @ v, v, u


def discriminator(params, vectors, images):
    """(outputs [B, C + 1], vectors after one power iteration each)."""
    x, after = 2 * np.asarray(images, float) - 1, {}
    for number in (1, 2, 3, 4, 5):
        name = f"conv{number}"
        kernel, bias = (np.asarray(params[name][key]) for key in ("kernel", "bias"))
        sigma, v, u = power_iteration(kernel, np.asarray(vectors[name]["u"], float))
        after[name] = {"u": u, "v": v}
        x = conv(x, kernel / sigma, stride=2, pad=1) + bias
        x = np.where(x > 0, x, 0.01 * x)
    kernel = np.asarray(params["kernel"])
    outputs = conv(x, kernel)
    assert outputs.shape[1:3] == (1, 1)
    return outputs[:, 0, 0], after


def squares(outputs, labels, generated):
    """Mean over rows and classes of the squared error against [label, generated]."""
    errors = []
    for output, label in zip(outputs, labels, strict=True):
        wanted = [*label, generated]
        errors += [(o - w) ** 2 for o, w in zip(output, wanted, strict=True)]
    return sum(errors) / len(errors)


def discriminator_loss(original, generated, labels, target_labels):
    """Half of two squared errors."""
    real, fake = squares(original, labels, 0), squares(generated, target_labels, 1)
    return (real + fake) / 2


def generator_loss(moved, images, codes, target_codes, outputs, target_labels, r):
    """The sum of the paper's three terms, of images in [0, 1]."""
    change = (2 * moved - 1) - (2 * images - 1)
    agreement = np.mean(codes * target_codes)
    reconstruction = np.mean(change**2)
    return r * reconstruction + 5 * (1 - agreement) + squares(outputs, target_labels, 0)
