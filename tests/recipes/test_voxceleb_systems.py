"""Systems of recipes/voxceleb run all their stages on a miniature of VoxCeleb's folders, their networks narrowed.

Here those that differ from one another in more than sizes; `python -m tests.recipes.voxceleb_systems` runs all, at full size.
"""

import math

import pytest

from tests.recipes.voxceleb_systems import covering_systems, make_data, run_system, trained_on_vox1


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("voxceleb") / "data")


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    """Features and banks are made once for the systems that share them."""
    return tmp_path_factory.mktemp("exp")


@pytest.mark.parametrize("system", covering_systems())
def test_a_system_runs_all_its_stages(system, data, exp):
    lists = run_system(system, data.folder, exp, shrink=True)["trials"]
    original = {"vox1_o"} if trained_on_vox1(system) else {"vox1_o", "vox1_e", "vox1_h"}
    assert set(lists) == original | {f"{name}_cleaned" for name in original if len(original) > 1}
    assert all(0 <= figures["eer"] <= 1 and math.isfinite(figures["min_dcf"]["0.01"]) for figures in lists.values())
