import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.models import make_model
from cgat_jax.models.torch_weights import from_torch_state

torch = pytest.importorskip("torch")


def torch_logits_and_gradient(network, pixels, weights):
    """In double precision: float32 torch errs as much as we do."""
    pixels = torch.tensor(pixels.transpose(0, 3, 1, 2)).double().requires_grad_()
    logits = network.double()(pixels)
    (logits * torch.tensor(weights).double()).sum().backward()
    return logits.detach().numpy(), pixels.grad.numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_same_logits_and_input_gradient_as_torch(name, rng):
    """Reference: the PyTorch network with the same random weights."""
    from tests.reference import torch_models

    torch.manual_seed(0)
    reference = getattr(torch_models, name)(8)
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    params = jax.tree.map(jnp.asarray, from_torch_state(name, state))
    pixels = rng.random((2, 224, 224, 3), dtype=np.float32)
    weights = rng.choice([-1.0, 1.0], size=(2, 8)).astype(np.float32)
    logits, gradient = torch_logits_and_gradient(reference, pixels, weights)

    model = make_model(name, outputs=8)
    expected, _ = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(pixels))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)

    @jax.jit
    def run(params, images):
        def objective(images):
            logits, _ = model.apply(params, {}, images)
            return (logits * weights).sum(), logits

        return jax.grad(objective, has_aux=True)(images)

    our_gradient, our_logits = run(params, jnp.asarray(pixels))
    assert np.abs(our_logits - logits).max() < 1e-5 * np.abs(logits).max()
    assert (np.sign(our_gradient) == np.sign(gradient)).mean() > 0.999
    # One ReLU or maximum that rounding decides differently costs about 0.002.
    error = np.linalg.norm(our_gradient - gradient) / np.linalg.norm(gradient)
    assert error < 0.01
