"""ProS-GAN's networks against NumPy, PyTorch and what the theory says of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.models.gan import make_discriminator, make_generator
from cgat_jax.models.layers.convolution import conv2d, conv2d_transpose
from cgat_jax.models.layers.norms import instance_norm, power_iteration
from tests.reference import gan as reference

WIDTH, CLASSES = 1 / 16, 4


def _count(tree):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def _spec(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _random(tree):
    """Weights of variance 1 / fan in, quicker than a network's own."""
    rng = np.random.default_rng(5)

    def draw(leaf):
        fan_in = max(int(np.prod(leaf.shape[:-1])), 1)
        return jnp.array(rng.normal(size=leaf.shape) / np.sqrt(fan_in), jnp.float32)

    return jax.tree.map(draw, tree)


def _inputs(rng, height=32, width=32, batch=2):
    images = jnp.array(rng.random((batch, height, width, 3)), jnp.float32)
    return images, jnp.array(rng.normal(size=(batch, 512)), jnp.float32)


def test_sizes_of_the_paper():
    """Published: 21.45 M and 12.27 M, the latter with the vectors, for 21 classes."""
    images, features = _spec(1, 224, 224, 3), _spec(1, 512)
    key = jax.random.key(0)
    params = jax.eval_shape(make_generator().init, key, images, features)
    assert _count(params) == 21_453_673
    judge, vectors = jax.eval_shape(make_discriminator(21).init, key, images)
    assert _count(judge) == 12_250_048 and _count(vectors) == 17_392
    assert round((_count(judge) + _count(vectors)) / 1e6, 2) == 12.27
    assert params["label_fc"]["kernel"].shape == (512, 128 * 14 * 14)
    assert judge["kernel"].shape == (7, 7, 1024, 22)


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 48, 64])
def test_every_size_keeps_the_image_size(size):
    images, features, key = _spec(2, size, size, 3), _spec(2, 512), jax.random.key(0)
    for width in (0.01, 0.3):
        generator, judge = (
            make_generator(width=width),
            make_discriminator(7, width=width),
        )
        params = jax.eval_shape(generator.init, key, images, features)
        moved = jax.eval_shape(generator.apply, params, images, features)
        assert moved.shape == images.shape
        outputs, _ = jax.eval_shape(
            judge.apply, *jax.eval_shape(judge.init, key, images), images
        )
        assert outputs.shape == (2, 8)


@pytest.mark.parametrize("impl", ["cpu", "xla"])
@pytest.mark.parametrize("shape", [(3, 5, 2, 7), (4, 2, 9, 3), (3, 3, 4, 1)])
def test_transposed_convolution_equals_the_sum(rng, x64, impl, shape):
    """Reference: each input pixel paints the kernel, in NumPy; odd sizes as well."""
    height, width, inputs, outputs = shape
    x = jnp.array(rng.normal(size=(2, height, width, inputs)))
    kernel = jnp.array(rng.normal(size=(4, 4, inputs, outputs)))
    result = conv2d_transpose(x, kernel, impl=impl)
    np.testing.assert_allclose(result, reference.up(x, kernel), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("impl", ["cpu", "xla"])
def test_transposed_convolution_is_the_adjoint_of_a_strided_one(rng, x64, impl):
    """<up(x), y> = <x, conv(y)> for every x, y and kernel; both gradients follow."""
    x, y = (jnp.array(rng.normal(size=s)) for s in ((2, 3, 4, 5), (2, 6, 8, 2)))
    kernel = jnp.array(rng.normal(size=(4, 4, 5, 2)))

    def painted(x, kernel):
        return (conv2d_transpose(x, kernel, impl=impl) * y).sum()

    def gathered(x, kernel):
        swapped, pad = kernel.transpose(0, 1, 3, 2), ((1, 1), (1, 1))
        return (conv2d(y, swapped, strides=(2, 2), padding=pad, impl="xla") * x).sum()

    ours, theirs = (
        jax.value_and_grad(f, (0, 1))(x, kernel) for f in (painted, gathered)
    )
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)


def test_transposed_convolution_equals_pytorch(rng):
    torch = pytest.importorskip("torch")
    x, kernel = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(4, 4, 4, 3))
    layer = torch.nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1, bias=False)
    layer.weight.data = torch.tensor(kernel.transpose(2, 3, 0, 1))
    expected = layer(torch.tensor(x.transpose(0, 3, 1, 2))).detach().numpy()
    result = conv2d_transpose(jnp.array(x, jnp.float32), jnp.array(kernel, jnp.float32))
    np.testing.assert_allclose(result, expected.transpose(0, 2, 3, 1), atol=1e-5)


@pytest.mark.slow
def test_instance_norm_equals_the_loop_and_is_finite_on_flat_channels(rng, x64):
    x = rng.normal(2.0, 3.0, size=(3, 5, 4, 2))
    x[1, :, :, 0] = 0.7
    result = instance_norm(jnp.array(x))
    np.testing.assert_allclose(result, reference.instance_norm(x), atol=1e-9)
    gradient = jax.grad(lambda x: (instance_norm(x) ** 3).sum())(jnp.array(x))
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(result, instance_norm(3.0 * jnp.array(x) + 1), atol=1e-4)


def test_power_iterations_end_at_the_largest_singular_value(rng, x64):
    """And never pass it, as it is the maximum of v^T W u over unit vectors."""
    matrix = rng.normal(size=(12, 7))
    largest, values = np.linalg.svd(matrix)[1][0], []
    u = jnp.array(rng.normal(size=7))
    u = u / jnp.linalg.norm(u)
    for _ in range(200):
        value, v, u = power_iteration(jnp.array(matrix), u)
        values.append(float(value))
    assert values[-1] == pytest.approx(largest, rel=1e-9)
    assert max(values) <= largest * (1 + 1e-12)
    assert (np.diff(values) > -1e-12).all() and values[0] < 0.99 * largest


def test_the_spectral_norms_gradient_has_constant_vectors(rng, x64):
    """d (v^T W u) / dW = v u^T, at the vectors after the iteration."""
    matrix, u = jnp.array(rng.normal(size=(6, 4))), jnp.array(rng.normal(size=4))
    gradient, (v, u) = jax.grad(
        lambda m: (lambda s, v, u: (s, (v, u)))(*power_iteration(m, u)), has_aux=True
    )(matrix)
    np.testing.assert_allclose(gradient, jnp.outer(v, u), atol=1e-12)


@pytest.fixture(scope="module")
def made():
    """A small generator's parameters, jitted apply, and inputs of 48 x 32 pixels."""
    inputs = _inputs(np.random.default_rng(0), 48, 32)
    generator = make_generator(width=WIDTH)
    params = _random(jax.eval_shape(generator.init, jax.random.key(1), *inputs))
    return params, jax.jit(generator.apply), *inputs


@pytest.mark.slow
def test_the_generator_equals_numpy(made):
    params, apply, images, features = made
    moved = apply(params, images, features)
    expected = reference.generator(params, images, np.asarray(features))
    np.testing.assert_allclose(moved, expected, atol=2e-5)
    assert moved.min() > 0 and moved.max() < 1
    assert np.abs(expected - np.asarray(images)).max() > 0.1


def test_images_do_not_depend_on_their_batch(made):
    params, apply, images, features = made
    together = apply(params, images, features)
    beside_another = apply(params, images.at[0].set(1.0), features.at[0].set(9.0))
    np.testing.assert_allclose(together[1], beside_another[1], atol=1e-6)
    other = apply(params, images, features[::-1])
    assert jnp.abs(other - together).max() > 1e-3  # the features matter


def test_the_discriminator_equals_numpy_and_carries_its_vectors(rng):
    images, _ = _inputs(rng, 64, 32)
    judge = make_discriminator(CLASSES, width=WIDTH)
    shapes = jax.eval_shape(judge.init, jax.random.key(1), images)
    params, vectors = _random(shapes)
    apply, expected_vectors = jax.jit(judge.apply), vectors
    for _ in range(3):
        outputs, vectors = apply(params, vectors, images)
        expected, expected_vectors = reference.discriminator(
            params, expected_vectors, images
        )
        np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert jax.tree.structure(vectors) == jax.tree.structure(expected_vectors)
    for ours, theirs in zip(
        jax.tree.leaves(vectors), jax.tree.leaves(expected_vectors), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_singular_vectors_are_float32_in_double_precision_as_well(x64):
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params, vectors = jax.eval_shape(
        make_discriminator(CLASSES, width=WIDTH).init, jax.random.key(0), images
    )
    leaves = jax.tree.leaves((params, vectors))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


def test_pixels_that_are_integers_are_refused():
    pixels = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.uint8)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got uint8; divide"):
        jax.eval_shape(make_discriminator(2).init, jax.random.key(0), pixels)


def test_wrong_sizes_and_widths_are_named(rng):
    key = jax.random.key(0)
    for size in (16, 40):
        with pytest.raises(ValueError, match=f"multiple of 16, got {size} x 32"):
            jax.eval_shape(make_generator().init, key, *_inputs(rng, size))
        with pytest.raises(ValueError, match=f"multiple of 16, got {size} x 32"):
            jax.eval_shape(make_discriminator(2).init, key, _inputs(rng, size)[0])
    for width in (0.0, 1.5):
        with pytest.raises(
            ValueError, match=rf"width must be in \(0, 1\], got {width}"
        ):
            make_generator(width=width)
