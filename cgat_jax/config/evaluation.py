"""Settings of an evaluation: what is measured, and how hard the attacks try."""

import dataclasses

from cgat_jax.config.fields import listed, setting


@dataclasses.dataclass(kw_only=True)
class Evaluate:
    """What is measured, and how hard the attacks try."""

    attacks: str = setting(
        "noise,cgat",
        "comma separated: noise, p2p, dhta, prosgan, prosgan_projected, tha, hag, "
        "sdha, saat, saat_targeted, cgat, nag, square, apgd, apgd_ap, apgd_anchor, "
        "apgd_opposite, worst_case",
        affects_results=False,
    )
    epsilon: float = setting(
        8 / 255, "budget of the attacks, L-infinity, of [0, 1]", high=1
    )
    preset: str = setting(
        "paper",
        "iterations: paper (each attack's own) or fast (at most 100; sdha and square "
        "keep their own)",
    )
    steps: int = setting(0, "iterations of every attack; 0: as the preset says")
    step_size: float = setting(
        0.0, "step of sign attacks, of [0, 1]; 0: their own", high=1
    )
    surrogate: str = setting(
        "",
        "what attacks see: tanh (of the logits), logits, or unit (logits of one "
        "length); empty: as each has it",
        choices=("", "tanh", "logits", "unit"),
    )
    restarts: int = setting(
        1, "attack so many times and keep each query's worst result", low=1
    )
    prototype_steps: int = setting(
        0,
        "training steps of prototypes (tha, prosgan); 0: 30,000 (paper), 3,000 (fast)",
    )
    prosgan_epochs: int = setting(
        0, "epochs of prosgan's generator; 0: 100 (paper) or 8 (fast)"
    )
    prosgan_width: float = setting(
        1.0, "share of the paper's channels of prosgan's networks", low=0.01, high=1
    )
    prosgan_reconstruction: float = setting(
        50.0, "weight of prosgan's reconstruction; the paper's for FLICKR-25K is 100"
    )
    prosgan_rate: float = setting(1e-4, "learning rate of prosgan's networks")
    round_images: bool = setting(
        False, "round adversarial images to 8 bits, in the ball, before they count"
    )
    without_relevant: str = setting(
        "zero",
        "queries that share no label with the database: count as zero, or exclude",
        choices=("zero", "exclude"),
    )
    top_k: int = setting(5000, "MAP looks at this many first retrieved images", low=1)
    batch_size: int = setting(
        64, "images at once, over all devices (photos: 0 is chosen)", low=1
    )
    num_queries: int = setting(0, "attack only the first queries; 0: all")
    gallery: int = setting(
        6,
        "queries shown in the report's galleries, of attacks that are yet to be run",
        affects_results=False,
    )
    transfer: str = setting(
        "",
        "attacks whose images are tried on the other networks, comma separated",
        affects_results=False,
    )
    sources: str = setting(
        "",
        "workdirs of other runs whose networks join transfer, comma separated",
        affects_results=False,
    )
    sanity_queries: int = setting(
        -1,
        "queries of the fourteen sanity checks; 0: no checks; -1: 64, where there are",
        low=-1,
        affects_results=False,
    )

    worst_case_queries: int = setting(
        -1,
        "first queries of a worst case that evaluate.attacks does not name; 0: none; "
        "-1: as many as a third of training and attacks pays for, none below 16",
        low=-1,
        affects_results=False,
    )

    @property
    def attack_list(self) -> tuple[str, ...]:
        """The names in ``attacks``."""
        return listed(self.attacks)

    @property
    def transfer_list(self) -> tuple[str, ...]:
        """The names in ``transfer``."""
        return listed(self.transfer)

    @property
    def source_list(self) -> tuple[str, ...]:
        """The folders in ``sources``."""
        return listed(self.sources)
