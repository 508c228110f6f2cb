import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax.models import BACKBONES, make_model

SIZES = {"alexnet": 224, "vgg11": 224, "small": 48, "medium": 32}
PARAMETERS = {
    "alexnet": 57_134_944,
    "vgg11": 128_897_440,
    "vgg13": 129_081_952,
    "vgg16": 134_391_648,
    "vgg19": 139_701_344,
    "vgg11_bn": 128_902_944,
    "vgg13_bn": 129_087_840,
    "vgg16_bn": 134_400_096,
    "vgg19_bn": 139_712_352,
    "resnet18": 11_192_928,
    "resnet34": 21_301_088,
    "resnet50": 23_573_600,
    "small": 280_048,
    "medium": 371_456,
}


def images_of(rng, batch, size):
    return jnp.array(rng.random((batch, size, size, 3)), jnp.float32)


@functools.cache
def parameters_of(name):
    """Random weights with 8 outputs, drawn once a session."""
    images = jnp.zeros((1, SIZES[name], SIZES[name], 3))
    return jax.jit(make_model(name, outputs=8).init)(jax.random.key(0), images)


def built(name, rng, **options):
    """A network with its parameters and two images; ``apply`` is compiled."""
    model = make_model(name, outputs=8, **options)
    model = model._replace(apply=jax.jit(model.apply))
    return model, *parameters_of(name), images_of(rng, 2, SIZES[name])


@pytest.mark.parametrize("name", BACKBONES)
def test_pixels_that_are_integers_are_refused(name):
    model = make_model(name, outputs=8)
    pixels = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.uint8)
    with pytest.raises(ValueError, match=r"in \[0, 1\], got uint8; divide"):
        jax.eval_shape(model.init, jax.random.key(0), pixels)


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18"])
def test_statistics_are_float32_in_double_precision_as_well(name, x64):
    model = make_model(name, outputs=8)
    images = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    params, stats = jax.eval_shape(model.init, jax.random.key(0), images)

    def train(params, stats, images):
        return model.apply(params, stats, images, key=jax.random.key(0))

    changed = jax.eval_shape(train, params, stats, images)[1]
    leaves = jax.tree.leaves((stats, changed))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", BACKBONES)
def test_parameter_counts(name):
    """Torchvision's counts with a head of 32 units (1000 there)."""
    model = make_model(name, outputs=32)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    params, stats = jax.eval_shape(model.init, jax.random.key(0), images)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[name]
    assert set(params["head"]) == {"kernel", "bias"}
    leaves = jax.tree.leaves((params, stats))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    assert bool(stats) == (name.endswith("_bn") or name.startswith("resnet"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "medium"])
@pytest.mark.parametrize(
    "size, dtype", [(32, "float32"), (48, "bfloat16"), (64, "float32")]
)
def test_sizes_from_32_to_64_are_taken(name, size, dtype, rng):
    model, params, stats, _ = built(name, rng, dtype=dtype)
    logits, stats = model.apply(params, stats, images_of(rng, 3, size))
    assert logits.shape == (3, 8) and logits.dtype == jnp.float32
    assert jnp.isfinite(logits).all() and stats == {}


def test_bfloat16_is_near_float32(rng):
    model, params, stats, images = built("small", rng)
    half, *_ = built("small", rng, dtype="bfloat16")
    exact, _ = model.apply(params, stats, images)
    rounded, _ = half.apply(params, stats, images)
    assert jnp.abs(exact - rounded).max() < 0.05 * jnp.abs(exact).max()


def test_dropout_follows_the_key(rng):
    model, params, stats, images = built("small", rng)
    first, second = jax.random.split(jax.random.key(1))

    def run(key):
        return np.asarray(model.apply(params, stats, images, key=key)[0])

    np.testing.assert_array_equal(run(first), run(first))
    np.testing.assert_array_equal(run(None), run(None))
    assert (run(first) != run(second)).any() and (run(first) != run(None)).any()

    model, *_ = built("small", rng, dropout=0.0)
    np.testing.assert_array_equal(run(first), run(None))


def test_the_head_starts_near_zero(rng):
    _, params, _, _ = built("small", rng)
    kernel = np.asarray(params["head"]["kernel"])
    assert abs(kernel.std() / 0.01 - 1) < 0.1 and abs(kernel.mean()) < 1e-3
    np.testing.assert_array_equal(params["head"]["bias"], np.zeros(8))


@pytest.mark.slow
def test_the_head_starts_as_asked():
    model = make_model("small", outputs=8, head_init=jax.nn.initializers.zeros)
    images = jnp.zeros((1, 48, 48, 3))
    params, _ = jax.jit(model.init)(jax.random.key(0), images)
    np.testing.assert_array_equal(params["head"]["kernel"], np.zeros((256, 8)))


@pytest.mark.slow
def test_the_gray_of_imagenet_is_zero_to_the_network(rng):
    """The mean image gives zeros after normalization: all biases are 0 at first."""
    model, params, stats, _ = built("small", rng)
    mean = jnp.array([0.485, 0.456, 0.406]).reshape(1, 1, 1, 3)
    logits, _ = model.apply(params, stats, jnp.tile(mean, (1, 48, 48, 1)))
    np.testing.assert_allclose(logits, 0.0, atol=1e-6)


@pytest.mark.slow
def test_small_learns(rng):
    """Left half brighter or right half brighter: 30 steps of gradient descent."""
    model, params, stats, _ = built("small", rng, dropout=0.0)
    images = images_of(rng, 16, 32)
    labels = jnp.arange(16) % 2
    ramp = jnp.where(jnp.arange(32) < 16, 0.4, 0.0).reshape(1, 1, 32, 1)
    sided = jnp.where(labels.reshape(-1, 1, 1, 1) == 0, ramp, ramp[:, :, ::-1])
    images = 0.6 * images + sided

    def loss(params):
        logits, _ = model.apply(params, stats, images)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)
        return -picked.mean()

    @jax.jit
    def step(params):
        value, gradients = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradients), value

    values = []
    for _ in range(30):
        params, value = step(params)
        values.append(float(value))
    assert values[-1] < 0.5 * values[0]


@pytest.mark.long
@pytest.mark.parametrize("name, batch", [("small", 4), ("alexnet", 1)])
def test_pgd_in_a_loop_equals_pgd_unrolled(name, batch, rng):
    """Two small steps: later signs of nearly zero gradients hang on rounding."""
    model, params, stats, _ = built(name, rng)
    images = images_of(rng, batch, SIZES[name])
    references = jnp.array(rng.choice([-1.0, 1.0], size=(batch, 8)), jnp.float32)

    def objective(x, params):
        logits, _ = model.apply(params, stats, x)
        return -(jnp.tanh(logits) * references).mean()

    def ascend(x, params):
        return x + 2 / 255 * jnp.sign(jax.grad(objective)(x, params))

    @jax.jit
    def looped(x, params):
        return jax.lax.fori_loop(0, 2, lambda _, x: ascend(x, params), x)

    @jax.jit
    def unrolled(x, params):
        return ascend(ascend(x, params), params)

    ours, theirs = looped(images, params), unrolled(images, params)
    assert (jnp.abs(ours - theirs) < 1e-6).mean() > 0.999
    before = objective(images, params)
    values = [objective(x, params) - before for x in (ours, theirs)]
    assert values[0] > 0
    np.testing.assert_allclose(values[0], values[1], rtol=1e-3)


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_other_image_sizes_are_refused(name):
    model = make_model(name, outputs=8)
    with pytest.raises(ValueError, match="224 x 224 pixels, got 48 x 64"):
        model.init(jax.random.key(0), jnp.zeros((1, 48, 64, 3)))


def test_small_refuses_tiny_images():
    model = make_model("small", outputs=8)
    with pytest.raises(ValueError, match="at least 16 x 16"):
        model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"name": "vgg12"}, "unknown model 'vgg12'.*alexnet.*did you mean 'vgg1"),
        ({"name": "?"}, r"unknown model '\?'; known: \["),
        ({"dtype": "float16"}, "unknown dtype 'float16'; known"),
        ({"outputs": 0}, "outputs must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_model(**{"name": "small", "outputs": 8} | options)


def test_equal_arguments_give_one_network_that_is_compiled_once():
    """Networks of other runs are made anew for each; only what differs is compiled."""
    traced = []

    @functools.partial(jax.jit, static_argnums=0)
    def encode(model, params, images):
        traced.append(model)
        return model.apply(params, {}, images)[0]

    images = jnp.zeros((1, 32, 32, 3))
    for dropout in (0.5, 0.5, 0.1):
        model = make_model("small", outputs=4, dropout=dropout)
        params, _ = jax.eval_shape(model.init, jax.random.key(0), images)
        params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), params)
        encode(model, params, images)
    assert len(traced) == 2
    same, other = (make_model("small", outputs=n) for n in (4, 5))
    assert same is traced[0] and other != same
    assert make_model("small", outputs=4, dtype="bfloat16") != same
