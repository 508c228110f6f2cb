"""Every configuration and study that comes with the programs can run."""

from pathlib import Path

import pytest

from cgat_jax.config.loading import load_config
from cgat_jax.config.settings import validate
from cgat_jax.reproduction.study import check_study
from experiments.study import jobs_of, load_studies

HERE = Path(__file__).parents[2] / "experiments"


def files(folder: str) -> list[str]:
    paths = sorted((HERE / folder).glob("*.py"))
    return [path.stem for path in paths if path.stem != "__init__"]


CHOSEN = {"photos"}  # its zeros are chosen of the photos, before it is validated


@pytest.mark.parametrize("name", sorted({*files("configs")} - CHOSEN))
def test_a_configuration_has_settings_that_are_allowed(name):
    validate(load_config(f"experiments/configs/{name}.py"))


@pytest.mark.parametrize("name", files("studies"))
def test_a_study_has_rows_that_can_run(name, tmp_path):
    studies = load_studies(f"experiments/studies/{name}.py")
    for study in studies:
        check_study(study)
    assert len(jobs_of(studies, tmp_path)) >= max(len(s.rows) for s in studies)
