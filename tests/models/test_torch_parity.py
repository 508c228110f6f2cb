import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.models import make_model
from cgat_jax.models.torch_weights import from_torch_state

torch = pytest.importorskip("torch")
from tests.reference import torch_models  # noqa: E402


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_same_logits_and_input_gradient_as_torch(name, rng):
    """Reference: the PyTorch network with the same random weights."""
    torch.manual_seed(0)
    reference = getattr(torch_models, name)(8)
    state = {key: value.numpy() for key, value in reference.state_dict().items()}
    pixels = rng.random((2, 224, 224, 3), dtype=np.float32)
    weights = rng.choice([-1.0, 1.0], size=(2, 8)).astype(np.float32)

    images = torch.tensor(pixels.transpose(0, 3, 1, 2), requires_grad=True)
    logits = reference(images)
    (logits * torch.tensor(weights)).sum().backward()
    theirs = images.grad.numpy().transpose(0, 2, 3, 1)

    model = make_model(name, outputs=8)
    params = jax.tree.map(jnp.asarray, from_torch_state(name, state))
    expected, _ = jax.eval_shape(model.init, jax.random.key(0), jnp.asarray(pixels))
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)

    @jax.jit
    def run(params, images):
        def objective(images):
            logits, _ = model.apply(params, {}, images)
            return (logits * weights).sum(), logits

        return jax.grad(objective, has_aux=True)(images)

    ours, logits_ours = run(params, jnp.asarray(pixels))
    difference = np.abs(np.asarray(logits_ours) - logits.detach().numpy()).max()
    assert difference < 1e-4
    assert (np.sign(ours) == np.sign(theirs)).mean() > 0.999
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"{name}: logits {difference:.1e}, gradient {error:.1e}")
    assert error < 1e-4
