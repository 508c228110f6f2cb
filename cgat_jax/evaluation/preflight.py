"""What is checked of a run's settings, before anything is read or claimed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

from cgat_jax.attacks import ATTACKS, BOUNDED_CODES, WORST_CASE, ordered_attacks
from cgat_jax.config import Config
from cgat_jax.config.settings import validate
from cgat_jax.data.checks import unused
from cgat_jax.defenses import DEFENSES, make_defense_step
from cgat_jax.errors import InputError, check_all, lookup
from cgat_jax.evaluation import other_runs
from cgat_jax.evaluation.budgets import budget_of
from cgat_jax.evaluation.generators import check_generators
from cgat_jax.evaluation.unused import check_options
from cgat_jax.rng import device_stream
from cgat_jax.training.initial_state import (
    build_loss,
    build_network,
    check_weights,
    fresh_weights,
)
from cgat_jax.training.network_files import (
    check_network,
    check_pretrained,
    network_path,
)
from cgat_jax.training.optimizer import make_optimizer, make_schedule
from cgat_jax.types import Bank


def check_settings(
    config: Config, *, is_new: bool = True, is_settled: bool = True
) -> None:
    """Builds every part that the settings name, so that a wrong one fails at once.

    Args:
        config: the settings.
        is_new: no run was begun with them; one of an earlier version may have options
            that are refused now, and goes on.
        is_settled: they are the run's, to be compared with those of other runs.

    Raises:
        InputError: all that is wrong, and what to do.
    """
    checks = _checks(config)
    checks += [partial(check_options, config)] if is_new else []
    if is_settled:
        parts = other_runs.check_sources, check_given
        checks += [partial(check, config) for check in parts]
    try:
        validate(config)
    except InputError:
        checks = [partial(_own_words, check) for check in checks]
    check_all([partial(validate, config), *checks])


def _own_words(check: Callable[[], object]) -> None:
    """A check of settings out of range, on which a library may break in its words."""
    try:
        check()
    except (InputError, FileNotFoundError):
        raise
    except Exception:
        return


def _checks(config: Config) -> list[Callable[[], object]]:
    checks = [
        partial(unused.check_settings, config.data),
        partial(_check_loss, config),
        partial(lookup, "defense", config.defense.name, DEFENSES),
    ]
    for name in ("backbone", "pretrain", "defense"):
        settings = getattr(config, name)
        checks += [
            partial(make_schedule, settings, steps_per_epoch=1),
            partial(make_optimizer, settings, optax.constant_schedule(1.0)),
            partial(_check_batch, config, name),
        ]
    parts = (check_attacks, _check_network, _check_defense, _check_start)
    return checks + [partial(check, config) for check in parts]


def _check_loss(config: Config) -> None:
    """Starts the loss as well, as some take certain code lengths alone."""
    bank = Bank(jnp.zeros((1, config.model.bits)), jnp.zeros((1, 1)))
    build_loss(config).init(device_stream(config.seed, "loss"), bank)


def _check_batch(config: Config, stage: str) -> None:
    """Of a stage that runs here, images a step: enough for the loss."""
    settings = getattr(config, stage)
    given = config.model.weights if stage == "backbone" else ""
    if not settings.epochs or given or (config.pretrained and stage != "defense"):
        return
    smallest = build_loss(config).min_batch
    if stage != "backbone" and 0 < settings.batch_size < smallest:
        raise InputError(
            f"{config.loss.name} compares the images of a batch: set "
            f"{stage}.batch_size to at least {smallest}"
        )


def check_attacks(config: Config) -> None:
    """Finds that the attacks of the settings can be made as they say.

    Raises:
        InputError: all that cannot, and why.
    """
    given = config.evaluate
    names = (*given.attack_list, *given.transfer_list)
    checks = [
        partial(ordered_attacks, given.attack_list),
        partial(_check_transfer, config),
    ]
    for name in dict.fromkeys(names):
        if name in ATTACKS:
            checks.append(partial(budget_of, name, given))
            checks.append(partial(_check_surrogate, config, name))
    if any(name.startswith("prosgan") for name in names):
        checks.append(partial(check_generators, config))
    check_all(checks)


def _check_surrogate(config: Config, attack: str) -> None:
    if config.evaluate.surrogate == "logits" and attack in BOUNDED_CODES:
        raise InputError(
            f"evaluate.surrogate: {attack} compares codes of about 1, so it takes "
            "tanh or unit, not logits"
        )


def _check_transfer(config: Config) -> None:
    if WORST_CASE in ordered_attacks(config.evaluate.transfer_list):
        raise InputError(f"evaluate.transfer: {WORST_CASE} is no single attack")


def _check_network(config: Config) -> None:
    model = build_network(config, config.model.bits)
    jax.eval_shape(partial(fresh_weights, model, config))


def _check_defense(config: Config) -> None:
    loss, model = build_loss(config), build_network(config, config.model.bits)
    make_defense_step(model, loss, optax.identity(), config.defense, 1)


def _check_start(config: Config) -> None:
    if config.pretrained and config.defense.epochs == 0:
        raise InputError(
            "defense.epochs: 0 with pretrained leaves nothing to train and nothing to "
            "measure; that network is measured by its own run, or by cgat_jax.benchmark"
        )
    if not config.pretrained:
        check_weights(build_network(config, config.model.bits), config)


def check_given(config: Config) -> None:
    """Compares the settings with those of the network that the run defends.

    Raises:
        InputError, FileNotFoundError: it is not there, or has others.
    """
    file = network_path(Path(config.pretrained)) if config.pretrained else None
    if file is not None:
        check_network(file, config)
    elif config.pretrained:
        check_pretrained(config)
