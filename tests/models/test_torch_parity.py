import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cgat_jax.models import make_model
from cgat_jax.models.torch_import.weights import (
    SOURCES,
    from_torch_state,
    network_shapes,
)
from tests.data.sources import SHARED, needs_shared_data

torch = pytest.importorskip("torch")


def all_networks(*quick):
    marks = pytest.mark.long
    return [n if n in quick else pytest.param(n, marks=marks) for n in SOURCES]


def networks(name, outputs=8):
    """A PyTorch network with random weights and statistics, ours, and its variables.

    Weights are He's, which keep the images' differences alive through every depth.
    """
    from tests.reference import torch_models

    torch.manual_seed(0)
    reference = getattr(torch_models, name)(outputs)
    for module in reference.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.0)
            module.bias.data.uniform_(-0.2, 0.2)
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    model = make_model(name, outputs=outputs, dropout=0.0)
    network = from_torch_state(name, state, network_shapes(model))
    return reference, model, jax.tree.map(jnp.asarray, network)


def torch_logits_and_gradient(network, pixels, weights):
    """In double precision: float32 torch errs as much as we do."""
    pixels = torch.tensor(pixels.transpose(0, 3, 1, 2)).double().requires_grad_()
    logits = network.double()(pixels)
    (logits * torch.tensor(weights).double()).sum().backward()
    return logits.detach().numpy(), pixels.grad.numpy().transpose(0, 2, 3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", all_networks("alexnet", "resnet18"))
def test_same_logits_and_input_gradient_as_torch(name, rng):
    """Reference: the PyTorch network with the same random weights."""
    reference, model, (params, stats) = networks(name)
    side = 96 if name == "resnet18" else 224  # the others' heads are of 224 pixels
    pixels = rng.random((2, side, side, 3), dtype=np.float32)
    weights = rng.choice([-1.0, 1.0], size=(2, 8)).astype(np.float32)
    logits, gradient = torch_logits_and_gradient(reference, pixels, weights)

    expected = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(pixels))
    assert jax.tree.map(jnp.shape, (params, stats)) == jax.tree.map(jnp.shape, expected)

    @jax.jit
    def run(images):
        def objective(images):
            logits, _ = model.apply(params, stats, images)
            return (logits * weights).sum(), logits

        return jax.grad(objective, has_aux=True)(images)

    our_gradient, our_logits = run(jnp.asarray(pixels))
    assert np.abs(our_logits - logits).max() < 1e-4
    assert np.abs(our_logits - logits).max() < 1e-5 * np.abs(logits).max()
    assert (np.sign(our_gradient) == np.sign(gradient)).mean() > 0.995
    # One ReLU or maximum that rounding decides differently costs about 0.002, and the
    # deepest VGG has ten of them.
    error = np.linalg.norm(our_gradient - gradient) / np.linalg.norm(gradient)
    assert error < (0.03 if name == "vgg19_bn" else 0.01)


@pytest.mark.long
@needs_shared_data
@pytest.mark.parametrize("name", all_networks("alexnet"))
def test_same_bits_of_photos_as_torch(name):
    """At least 99.9 % of 64 bits of 16 photos: all but one may differ.

    Random weights give photos much the same logits, so each bit's threshold is put at
    its median, where it tells the photos apart.
    """
    reference, model, (params, stats) = networks(name, outputs=64)
    paths = sorted((SHARED / "coco-mini" / "val2014").iterdir())[:16]
    images = [Image.open(p).convert("RGB").resize((224, 224)) for p in paths]
    pixels = np.stack([np.asarray(image, np.float32) / 255 for image in images])
    with torch.inference_mode():
        theirs = reference(torch.tensor(pixels.transpose(0, 3, 1, 2))).numpy()
    apply = jax.jit(lambda images: model.apply(params, stats, images)[0])
    ours = np.concatenate([apply(part) for part in np.split(pixels, 2)])
    assert np.abs(ours - theirs).max() < 1e-4
    middle = np.median(theirs, axis=0)
    same = (ours > middle) == (theirs > middle)
    print(f"{name}: {np.abs(ours - theirs).max():.1e}, {(~same).sum()} bits differ")
    assert same.mean() >= 0.999


@pytest.mark.slow
def test_training_moves_statistics_as_torch_does(rng):
    """ResNet-18 at 64 pixels: two passes in training, without and with padded rows."""
    reference, model, (params, stats) = networks("resnet18")
    apply = jax.jit(model.apply)
    pixels = rng.random((2, 4, 64, 64, 3), dtype=np.float32)
    reference.double().train()
    for images in pixels:
        channels_first = torch.tensor(images.transpose(0, 3, 1, 2)).double()
        logits = reference(channels_first).detach().numpy()
        padded = np.concatenate([images, np.ones_like(images)])
        ours, stats = apply(
            params, stats, padded, key=jax.random.key(0), mask=jnp.arange(8) < 4
        )
        np.testing.assert_allclose(ours[:4], logits, rtol=1e-3, atol=1e-4)
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    shapes = network_shapes(model)
    _, expected = from_torch_state("resnet18", state, shapes)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
        stats,
        expected,
    )
