"""ProS-GAN: its losses, its step, its training to the end and from the middle."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cgat_jax import sharding
from cgat_jax.attacks.prosgan import (
    Targets,
    make_targets,
    prosgan,
    train_target_network,
)
from cgat_jax.attacks.prosgan_step import (
    GanSettings,
    Networks,
    learning_rate,
    make_gan_step,
)
from cgat_jax.errors import NonFiniteError, Stopped
from cgat_jax.losses import gan as losses
from cgat_jax.losses.prototype import classified_prototype_loss
from cgat_jax.models import gan, prototype
from cgat_jax.models.gan import make_discriminator, make_generator
from cgat_jax.training import prosgan as training
from cgat_jax.training.prosgan import AttackedNetwork, train_prosgan
from cgat_jax.types import Bank, Batch
from tests.adam import allow_adam
from tests.reference import gan as reference
from tests.reference import losses as loss_reference
from tests.runs import read_curve

pytestmark = pytest.mark.slow

SIZE, BITS, CLASSES, ROWS = 32, 8, 3, 6
SETTINGS = GanSettings(
    image_size=SIZE,
    steps_per_epoch=5,
    epochs=8,
    reconstruction=1.0,
    learning_rate=2e-3,
    width=1 / 16,
    prototype_steps=200,
    log_steps=4,
    checkpoint_seconds=1e9,
)
TOTAL = SETTINGS.epochs * SETTINGS.steps_per_epoch


def _key(seed):
    """Of a generator whose programs compile sooner than those of the usual one."""
    return jax.random.key(seed, impl="rbg")


def _encode(network, images):
    """Linear in the mean colors of sixteen tiles: something a generator can move."""
    tiles = images.reshape(len(images), 4, SIZE // 4, 4, SIZE // 4, 3).mean((2, 4))
    return (tiles.reshape(len(images), -1) - 0.5) @ network


def _batch(seed, rows=ROWS):
    rng = np.random.default_rng(seed)
    return Batch(
        images=rng.integers(0, 256, (ROWS, SIZE, SIZE, 3), np.uint8),
        labels=np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, ROWS)],
        indices=np.arange(ROWS, dtype=np.int32),
        mask=np.arange(ROWS) < rows,
    )


def _batches(start, count):
    """Batch i does not depend on where the iteration starts."""
    mesh = sharding.make_mesh()
    return (sharding.put_rows(mesh, _batch(start + i)) for i in range(count))


@pytest.fixture(scope="module")
def attacked():
    rng = np.random.default_rng(2)
    network = jnp.array(4 * rng.normal(size=(48, BITS)), jnp.float32)
    bits = np.arange(BITS)  # a bit that tells nothing apart is led astray
    classes = np.where(np.arange(CLASSES)[:, None] == bits % CLASSES, 1.0, -1.0)
    codes = np.repeat(classes * (-1.0) ** (bits // CLASSES), 5, axis=0)
    labels = np.repeat(np.eye(CLASSES), 5, axis=0)
    bank = Bank(jnp.array(codes, jnp.float32), jnp.array(labels, jnp.float32))
    return AttackedNetwork(_encode, network, bank, np.eye(CLASSES, dtype=np.uint8))


def _train(attacked, folder, batches=_batches, check_stop=lambda: None):
    return train_prosgan(
        attacked,
        batches,
        SETTINGS,
        _key(0),
        folder,
        mesh=sharding.make_mesh(),
        check_stop=check_stop,
    )


@pytest.fixture(scope="module")
def small_networks():
    """Fewer layers and units, which compile sooner; for all tests of the file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prototype, "HIDDEN", 64)
        patch.setattr(gan, "BLOCKS", 1)
        allow_adam(patch)
        yield


@pytest.fixture(scope="module")
def compiled_once(tmp_path_factory):
    """Programs are kept on disk: each training compiles the same step again."""
    folder = str(tmp_path_factory.mktemp("programs"))
    names = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"
    before = [getattr(jax.config, name) for name in names]
    for name, value in zip(names, (folder, 0.1), strict=True):
        jax.config.update(name, value)
    yield
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def trained(attacked, small_networks, compiled_once, tmp_path_factory):
    """A training without interruption: what it returned, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return _train(attacked, folder), folder


@pytest.mark.parametrize("pad", [0, 2])
def test_losses_equal_the_papers_in_numpy(rng, x64, pad):
    rows, shape = 4, (4, 5, 5, 3)
    moved, images = rng.random(shape), rng.random(shape)
    codes, goal = np.tanh(rng.normal(size=(4, 6))), rng.choice([-1.0, 1.0], (4, 6))
    first, second = rng.normal(size=(2, 4, CLASSES + 1))
    labels, target_labels = (rng.random((2, 4, CLASSES)) < 0.5).astype(float)

    def padded(array):
        return jnp.array(np.concatenate([array, np.full_like(array[:pad], 7.0)]))

    mask = jnp.arange(rows + pad) < rows
    value = losses.discriminator_loss(
        *map(padded, (first, second, labels, target_labels)), mask
    )
    expected = reference.discriminator_loss(first, second, labels, target_labels)
    assert value == pytest.approx(expected, rel=1e-12)

    terms = {
        "reconstruction": losses.reconstruction(padded(moved), padded(images), mask),
        "code": losses.disagreement(padded(codes), padded(goal), mask),
        "class": losses.discriminator_error(
            padded(second), padded(target_labels), 0.0, mask
        ),
    }
    expected = reference.generator_loss(
        moved, images, codes, goal, second, target_labels, 50
    )
    value = losses.generator_loss(terms, weight=50.0)
    assert value == pytest.approx(expected, rel=1e-12)


def test_losses_by_hand():
    """A change of half the range is a change of 1 in [-1, 1]; opposite codes give 2."""
    images, mask = jnp.zeros((2, 4, 4, 3)), jnp.ones(2, bool)
    assert losses.reconstruction(images, images, mask) == 0
    assert losses.reconstruction(images + 0.5, images, mask) == 1
    codes = jnp.array([[1.0, -1.0], [1.0, 1.0]])
    assert losses.disagreement(codes, codes, mask) == 0
    assert losses.disagreement(-codes, codes, mask) == 2
    perfect = jnp.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    labels = perfect[:, :2]
    assert losses.discriminator_error(perfect, labels, 1.0, mask) == 0
    assert losses.discriminator_error(perfect, labels, 0.0, mask) == pytest.approx(
        1 / 3
    )


def test_the_prototype_loss_equals_the_loop(rng, x64):
    codes, bank_codes = np.tanh(rng.normal(size=(4, 7))), rng.choice([-1, 1], (9, 7))
    labels, bank_labels = (
        (rng.random((n, CLASSES)) < 0.4).astype(float) for n in (4, 9)
    )
    classes, bank_codes = rng.random((4, CLASSES)), bank_codes.astype(float)
    arguments = codes, classes, labels
    value = classified_prototype_loss(
        *map(jnp.array, arguments), Bank(jnp.array(bank_codes), jnp.array(bank_labels))
    )
    expected = loss_reference.classified_prototype(*arguments, bank_codes, bank_labels)
    assert value == pytest.approx(expected, rel=1e-12)


def test_the_learning_rate_is_constant_then_falls_to_a_51st():
    """By hand: epochs 0..49 at 1, epoch 50 at 50/51, epoch 99 at 1/51."""
    settings = GanSettings(image_size=SIZE, steps_per_epoch=7)
    rates = [
        float(learning_rate(jnp.array(7 * epoch + place), settings)) / 1e-4
        for epoch, place in ((0, 0), (49, 6), (50, 0), (50, 6), (51, 0), (99, 6))
    ]
    expected = [1, 1, 50 / 51, 50 / 51, 49 / 51, 1 / 51]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_prototypes_learn_codes_and_classes(attacked, small_networks):
    def made(steps):
        params = train_target_network(
            _key(0), attacked.bank, attacked.label_sets, steps=steps
        )
        return make_targets(params, attacked.label_sets), params

    before, (after, params) = made(0)[0], made(600)
    own = np.asarray(attacked.bank.codes)[::5]
    agreement = [(np.asarray(t.codes) * own).mean() for t in (before, after)]
    assert agreement[1] > 0.95 > agreement[0]
    assert after.features.shape == (CLASSES, 512)
    network = prototype.make_prototype_net(BITS, classifier=True)
    classes = network.outputs(params, jnp.eye(CLASSES)).classes
    assert (classes.argmax(axis=1) == jnp.arange(CLASSES)).all()


@pytest.fixture(scope="module")
def stepped(attacked, small_networks, compiled_once):
    """The step as training compiles it, a first state, a batch, and the constants."""
    networks = Networks(
        _encode,
        make_generator(width=SETTINGS.width),
        make_discriminator(CLASSES, width=SETTINGS.width),
    )
    features = jax.random.normal(_key(2), (CLASSES, 512))
    sets = Targets(jnp.eye(CLASSES), attacked.bank.codes[::5], features)
    mesh, constants = sharding.make_mesh(), (_key(3), attacked.network, sets)
    fresh = training._fresh(_key(1), networks, SIZE, sets)
    state = jax.device_put(fresh, sharding.replicated(mesh))
    program = training._compile(make_gan_step(networks, SETTINGS), constants, mesh)

    def step(state, batch):
        return program(jax.tree.map(jnp.copy, state), sharding.put_rows(mesh, batch))

    return step, state, _batch(0, rows=4), constants


@pytest.mark.long
def test_a_steps_losses_equal_numpys_networks(stepped):
    """The judge learns first, each forward one power iteration on; then G is judged."""
    step, state, batch, constants = stepped
    after, metrics = step(state, batch)
    key, network, sets = constants
    draw = np.asarray(
        jax.random.randint(jax.random.fold_in(key, 0), (ROWS,), 0, CLASSES)
    )[:4]
    images, labels = batch.images[:4] / 255, batch.labels[:4]
    goal, target_labels, features = (
        np.asarray(table)[draw] for table in (sets.codes, sets.labels, sets.features)
    )
    moved = reference.generator(state.generator, images, features, blocks=1)
    first, vectors = reference.discriminator(state.discriminator, state.vectors, images)
    second, vectors = reference.discriminator(state.discriminator, vectors, moved)
    expected = reference.discriminator_loss(first, second, labels, target_labels)
    assert metrics["loss/discriminator"] == pytest.approx(expected, rel=1e-4)

    outputs, vectors = reference.discriminator(after.discriminator, vectors, moved)
    codes = np.tanh(_encode(np.asarray(network), moved))
    expected = reference.generator_loss(
        moved, images, codes, goal, outputs, target_labels, SETTINGS.reconstruction
    )
    assert metrics["loss"] == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(
        after.vectors["conv5"]["u"], vectors["conv5"]["u"], atol=1e-4
    )


def test_the_judge_learns_at_every_third_step_and_padding_weighs_nothing(stepped):
    step, state, batch, constants = stepped
    other = batch._replace(images=batch.images.copy())
    other.images[4:] = 0
    learned = []
    for _ in range(4):
        after, _ = step(state, batch)
        changed = jax.tree.map(
            lambda a, b: bool((np.asarray(a) != np.asarray(b)).any()),
            after.discriminator,
            state.discriminator,
        )
        learned.append(all(jax.tree.leaves(changed)))
        assert learned[-1] == any(jax.tree.leaves(changed))
        same, _ = step(state, other)
        for one, two in zip(jax.tree.leaves(after), jax.tree.leaves(same), strict=True):
            np.testing.assert_allclose(one, two, atol=1e-5)
        state = after
    assert learned == [True, False, False, True]


def _distance(one, other):
    return np.abs(np.asarray(one) - np.asarray(other)).max()


def test_adams_first_update_is_the_learning_rate(stepped):
    step, state, batch, constants = stepped
    after, _ = step(state, batch)
    change = jax.tree.map(_distance, after, state)
    for tree in (change.generator, change.discriminator):
        largest = max(jax.tree.leaves(tree))
        assert largest == pytest.approx(SETTINGS.learning_rate, rel=1e-3)


@functools.partial(jax.jit, static_argnums=3)
def _craft(params, images, features, epsilon):
    generator = make_generator(width=SETTINGS.width)
    return prosgan(generator, params, images, features, epsilon)


@pytest.mark.long
def test_crafted_images_agree_with_their_targets(attacked, trained):
    """End to end: mean(u * t) of unseen images rises far above the clean images'."""
    images = sharding.to_images(jnp.asarray(_batch(10_000).images))
    sets = make_targets(trained[0].prototypes, np.eye(CLASSES)[np.arange(ROWS) % 3])
    moved = _craft(trained[0].generator, images, sets.features, None)
    clean, attacked = (
        float((jnp.tanh(_encode(attacked.network, x)) * sets.codes).mean())
        for x in (images, moved)
    )
    assert attacked > 0.6 > 0.2 > clean


def test_the_projected_form_stays_in_the_ball(trained, rng):
    images = jnp.array(rng.random((ROWS, SIZE, SIZE, 3)), jnp.float32)
    images = images.at[0].set(0.0).at[1].set(1.0)
    sets = make_targets(trained[0].prototypes, np.eye(CLASSES)[np.arange(ROWS) % 3])
    for epsilon in (0.0, 8 / 255):
        moved = _craft(trained[0].generator, images, sets.features, epsilon)
        assert jnp.abs(moved - images).max() <= epsilon + 1e-7
        assert moved.min() >= 0 and moved.max() <= 1
    free = _craft(trained[0].generator, images, sets.features, None)
    assert jnp.abs(free - images).max() > 0.1 and free.min() >= 0 and free.max() <= 1


def _same(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_stopped_and_a_killed_training_end_as_a_whole_one(
    attacked, trained, tmp_path
):
    """Stopped, then killed before the next checkpoint, then run to its end."""
    seen = []

    def watched(start, count):
        for batch in _batches(start, count):
            seen.append(1)
            yield batch

    def stop_at_step_seven():
        if len(seen) == 7:  # however often the prototypes ask
            raise Stopped(143)

    def dies(start, count):
        for number, batch in enumerate(_batches(start, count)):
            if start + number == 11:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(Stopped):
        _train(attacked, tmp_path, batches=watched, check_stop=stop_at_step_seven)
    with pytest.raises(KeyboardInterrupt):
        _train(attacked, tmp_path, batches=dies)
    starts = []

    def counted(start, count):
        starts.append((start, count))
        return _batches(start, count)

    resumed = _train(attacked, tmp_path, batches=counted)
    assert starts == [(7, TOTAL - 7)]
    whole, folder = trained
    _same(resumed, whole)
    logs = [read_curve(f / "metrics.jsonl") for f in (tmp_path, folder)]
    assert logs[0] == logs[1] and len(logs[0]) == TOTAL // 4
    assert logs[0][-1]["step"] == TOTAL


@pytest.mark.long
def test_damaged_newest_checkpoints_end_in_the_same_training(
    attacked, trained, tmp_path
):
    """A flipped byte in every file, of the generator's and of the prototypes'."""
    seen = []

    def watched(start, count):
        for batch in _batches(start, count):
            seen.append(1)
            yield batch

    def stop_at_step_seven():
        if len(seen) == 7:
            raise Stopped(143)

    with pytest.raises(Stopped):
        _train(attacked, tmp_path, batches=watched, check_stop=stop_at_step_seven)
    newest = tmp_path / "checkpoints" / "7", *(tmp_path / "prototypes").glob("[0-9]*")
    assert len(newest) == 2
    for path in (
        p
        for folder in newest
        for p in folder.rglob("*")
        if p.is_file() and p.stat().st_size
    ):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 8
        path.write_bytes(content)
    whole, folder = trained
    _same(_train(attacked, tmp_path), whole)
    logs = [read_curve(f / "metrics.jsonl") for f in (tmp_path, folder)]
    assert logs[0] == logs[1]
    for path in newest:
        assert path.with_name(f"{path.name}.damaged-1").is_dir()
        assert path.is_dir() == (path.parent.name == "prototypes")


def test_a_finished_training_is_only_read(attacked, trained):
    def none(start, count):
        assert (start, count) == (TOTAL, 0)
        return iter(())

    _same(_train(attacked, trained[1], batches=none), trained[0])


def test_a_loss_that_is_not_finite_ends_the_training(attacked, trained, tmp_path):
    def breaks(start, count):
        for number, batch in enumerate(_batches(start, count)):
            labels = batch.labels * (np.nan if number == 6 else 1)
            yield batch._replace(labels=labels)

    with pytest.raises(NonFiniteError, match="step 7: not finite: loss, "):
        _train(attacked, tmp_path, batches=breaks)
    assert not [p for p in (tmp_path / "checkpoints").iterdir() if p.name.isdigit()]
