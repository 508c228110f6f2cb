"""Two cells of seconds each."""

from cgat_jax.reproduction.study import Study


def get_studies():
    rows = {
        "undefended": {"defense.epochs": 0},
        "AT-self": {"defense.name": "at_self", "defense.ema": 0.9},
    }
    study = Study(
        title="Tiny",
        text="Means nothing.",
        config="tests/tiny_config.py",
        rows=rows,
        overrides={"evaluate.attacks": "noise", "pretrain.epochs": 1},
        fronts={"AT-self": {"1": "AT-self"}},
    )
    return [study]
