"""A PyTorch module as a function of JAX: values, gradients, and what stays as is."""

import builtins
import os
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.attacks import Budget
from cgat_jax.attacks.pgd import away_from_references
from cgat_jax.errors import InputError
from cgat_jax.models.torch_bridge import from_torch

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[2]
BITS = 6


def network(seed=0, bits=BITS):
    """Smooth, so that finite differences mean something; drops and normalizes."""
    torch.manual_seed(seed)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, stride=2),
        torch.nn.BatchNorm2d(5),
        torch.nn.Tanh(),
        torch.nn.Dropout(0.5),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(20, bits),
    )


def in_torch(module, images, weights):
    """Logits and the gradient of their weighted sum, by autograd alone."""
    modes = [(part, part.training) for part in module.modules()]
    pixels = torch.tensor(np.array(images).transpose(0, 3, 1, 2)).requires_grad_()
    logits = module.eval()(pixels)
    (gradient,) = torch.autograd.grad((logits * torch.tensor(weights)).sum(), pixels)
    for part, mode in modes:
        part.training = mode
    return logits.detach().numpy(), gradient.numpy().transpose(0, 2, 3, 1)


@pytest.fixture
def images(rng):
    return rng.random((4, 12, 11, 3), dtype=np.float32)


@pytest.mark.parametrize("compiled", [False, True])
def test_logits_and_gradients_are_those_of_autograd(compiled, images, rng):
    module = network().eval()
    weights = rng.normal(size=(4, BITS)).astype(np.float32)
    encode = from_torch(module)

    def objective(images):
        logits = encode(images)
        return (logits * weights).sum(), logits

    run = jax.grad(objective, has_aux=True)
    gradient, logits = (jax.jit(run) if compiled else run)(jnp.asarray(images))
    expected, expected_gradient = in_torch(module, images, weights)
    assert logits.dtype == gradient.dtype == jnp.float32
    np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-6, atol=1e-8)


class _Normalizes(torch.nn.Module):
    """Its input in place, as much released code does; then the network."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels):
        pixels.sub_(0.4).div_(0.5)
        return self.network(pixels)


def test_a_module_may_change_its_input_in_place(images):
    module = network().eval()
    scaled = jnp.asarray((images - np.float32(0.4)) / np.float32(0.5))
    encode, plain = from_torch(_Normalizes(module)), from_torch(module)
    gradient = jax.grad(lambda x: encode(x).sum())(jnp.asarray(images))
    expected = jax.grad(lambda x: plain(x).sum())(scaled) / 0.5
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


def test_gradients_are_those_of_finite_differences(images):
    encode = from_torch(network().double())

    def objective(images):
        return (jnp.tanh(encode(images)) ** 2).sum()

    gradient = np.asarray(jax.jit(jax.grad(objective))(jnp.asarray(images)))
    direction = gradient / np.linalg.norm(gradient)
    high, low = (objective(images + s * 0.05 * direction) for s in (1, -1))
    assert float(high - low) / 0.1 == pytest.approx(np.linalg.norm(gradient), rel=1e-2)


def test_a_loop_steps_as_one_in_torch(images):
    module, weights = network(), np.ones((4, BITS), np.float32)
    encode = from_torch(module)

    def step(_, x):
        return x + 0.1 * jax.grad(lambda y: encode(y).sum())(x)

    ours = jax.jit(lambda x: jax.lax.fori_loop(0, 5, step, x))(images)
    theirs = images
    for _ in range(5):
        theirs = theirs + np.float32(0.1) * in_torch(module, theirs, weights)[1]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
def test_an_attack_runs_on_it(images):
    encode = from_torch(network())
    codes = jnp.sign(encode(images))
    attack = away_from_references(Budget(epsilon=0.1, step_size=0.02, steps=10))

    @jax.jit
    def run(images):
        keys = jax.random.split(jax.random.key(0), len(images))
        return attack(lambda x, _: encode(x), images, codes, keys)

    adversarial = run(jnp.asarray(images))
    assert np.abs(adversarial - images).max() <= 0.1 + 1e-6
    agreement = (codes * jnp.tanh(encode(images))).mean()
    assert (codes * jnp.tanh(encode(adversarial))).mean() < agreement


@pytest.mark.parametrize("count", [0, 1, 3])
def test_batches_and_images_of_any_size(count, rng):
    module = network().eval()
    encode = jax.jit(from_torch(module))
    for side in (9, 14):
        images = rng.random((count, side, side, 3), dtype=np.float32)
        logits = encode(images)
        assert logits.shape == (count, BITS)
        if count:
            expected = in_torch(module, images, np.ones((count, BITS), np.float32))[0]
            np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-7)


def test_rows_mapped_one_by_one_are_those_of_a_batch(images):
    encode = from_torch(network())
    one_by_one = jax.vmap(lambda image: encode(image[None])[0])(images)
    np.testing.assert_allclose(one_by_one, encode(images), atol=1e-6)


def test_the_module_stays_as_it_was(images):
    """In training mode with one part that is not, a gradient and a frozen layer."""
    module = network().train()
    module[3].eval()
    module[0].weight.requires_grad_(False)
    module[6].bias.grad = torch.full((BITS,), 3.0)
    modes = [part.training for part in module.modules()]
    state = {name: value.clone() for name, value in module.state_dict().items()}
    random = torch.get_rng_state()
    encode = from_torch(module)
    gradient = jax.jit(jax.grad(lambda x: encode(x).sum()))(jnp.asarray(images))
    np.testing.assert_array_equal(encode(images), encode(images))

    assert np.abs(gradient).max() > 0
    assert [part.training for part in module.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    assert not module[0].weight.requires_grad and module[0].bias.requires_grad
    assert module[6].bias.grad.tolist() == [3.0] * BITS
    assert module[0].bias.grad is None and module[0].weight.grad is None
    for name, value in module.state_dict().items():
        assert torch.equal(value, state[name]), name


class Noisy(torch.nn.Module):
    def forward(self, images):
        return images.mean((2, 3)) + torch.rand(3)


class Failing(torch.nn.Module):
    """Takes two images, as the look at its output does, and no others."""

    def forward(self, images):
        if len(images) != 2:
            raise RuntimeError("what the module says")
        return images.mean((2, 3))


def test_random_numbers_are_not_used_up(images):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    jax.grad(lambda x: from_torch(Noisy())(x).sum())(jnp.asarray(images))
    assert torch.equal(torch.rand(2), expected)


def test_modes_come_back_after_an_error(images):
    module = Failing().train()
    with pytest.raises(Exception, match="what the module says"):
        jax.block_until_ready(jax.jit(from_torch(module))(images))
    assert module.training


def test_later_weights_count_without_a_new_compilation(images):
    module = network()
    encode = jax.jit(from_torch(module))
    before = np.asarray(encode(images))
    with torch.no_grad():
        module[6].bias += 1
    np.testing.assert_allclose(encode(images), before + 1, atol=1e-6)
    assert encode._cache_size() == 1


def test_other_types_of_numbers(images):
    """Input in the module's type, logits and gradients in float32."""
    expected = from_torch(network())(images)
    for kind, tolerance in ((torch.float64, 1e-5), (torch.bfloat16, 0.05)):
        encode = from_torch(network().to(kind))
        np.testing.assert_allclose(encode(images), expected, atol=tolerance)
        gradient = jax.grad(lambda x, f=encode: f(x).sum())(jnp.asarray(images))
        assert encode(images).dtype == gradient.dtype == jnp.float32


def test_threads_share_a_module(rng):
    """Two networks, one of them in two threads; each gets its own numbers."""
    modules = [network(seed).train() for seed in (0, 1)]
    encoders = [jax.jit(from_torch(modules[i])) for i in (0, 1, 0)]
    given = rng.random((3, 5, 20, 20, 3), dtype=np.float32)
    weights = np.ones((5, BITS), np.float32)
    expected = [in_torch(modules[i % 2], given[i], weights)[0] for i in range(3)]
    assert not np.allclose(expected[0], expected[2], atol=1e-4)
    wrong = []

    def work(number):
        for _ in range(20):
            logits = np.asarray(encoders[number](given[number]))
            wrong.append(not np.allclose(logits, expected[number], atol=1e-6))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrong) == 60 and not any(wrong)
    assert all(part.training for module in modules for part in module.modules())


HANGS = """
import jax, jax.numpy as jnp, numpy as np, torch
from cgat_jax.models.torch_bridge import from_torch
module = torch.nn.Sequential(torch.nn.AvgPool2d(64), torch.nn.Flatten())
encode = from_torch(module)
def step(_, x):
    return jnp.sin(x) + jax.grad(lambda y: jnp.tanh(encode(jnp.sin(y))).sum())(x)
run = jax.jit(lambda x: jax.lax.fori_loop(0, 10, step, x))
for seed in range(8):
    drawn = np.random.default_rng(seed).random((33, 64, 64, 3), dtype=np.float32)
    images = jnp.asarray(drawn)
    results = [run(images + i) for i in range(3)]
    assert np.isfinite(np.asarray(results[-1])).all()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_large_images_do_not_hang_on_one_core():
    """One thread serves the device: it cannot wait in a callback for a copy of its own.

    ``jax.pure_callback`` hung here in most of the runs that were tried (jax 0.10.2).
    """
    command = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    done = subprocess.run(
        [sys.executable, "-c", command + HANGS],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


class Giving(torch.nn.Module):
    """Gives what a function makes of the images' means."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images.mean((2, 3)))


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda x: x.sum(), r"gives torch.float32 \[\] for 2 images"),
        (lambda x: x[:, :, None], r"\[2, 3, 1\] for 2 images, expected floating"),
        (lambda x: x[:1], r"\[1, 3\] for 2 images"),
        (lambda x: x > 0, r"gives torch.bool \[2, 3\]"),
        (lambda x: (x, x), "gives a tuple, expected one tensor"),
        (lambda x: x @ torch.ones(2, 2), "fails on images of 12 x 11 pixels: Runtime"),
    ],
)
def test_outputs_that_are_no_logits_are_refused_when_traced(function, message, images):
    encode = jax.jit(from_torch(Giving(function)))
    with pytest.raises(InputError, match=message) as caught:
        encode(images)
    assert len(str(caught.value).splitlines()) == 1


def test_logits_without_a_gradient_are_an_error_not_zero(images):
    encode = from_torch(Giving(lambda x: x.detach()))
    assert encode(images).shape == (4, 3)
    with pytest.raises(Exception, match="logits have no gradient"):
        jax.block_until_ready(jax.grad(lambda x: encode(x).sum())(jnp.asarray(images)))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (np.zeros((2, 8, 8, 3), np.uint8), r"got uint8 \[2, 8, 8, 3\]"),
        (np.zeros((2, 3, 8, 8), np.float32), r"got float32 \[2, 3, 8, 8\]"),
        (np.zeros((8, 8, 3), np.float32), r"got float32 \[8, 8, 3\]"),
    ],
)
def test_other_images_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        from_torch(network())(wrong)


def test_what_is_no_module_is_refused():
    with pytest.raises(InputError, match="expects a torch.nn.Module, got function"):
        from_torch(lambda images: images)


def test_without_torch_it_says_so(monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'")
        return original(name, *rest)

    module = network()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match="needs PyTorch.*install torch"):
        from_torch(module)
