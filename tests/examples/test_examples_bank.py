"""The bank on disk gives the samples that were put into it, crop by crop."""

import numpy as np
import pytest

from steps.data.archive import write_scp, write_wave_ark
from steps.examples.bank import ArchiveBank


@pytest.fixture
def sounds(tmp_path) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    made = {kind: [rng.integers(-32768, 32768, n).astype(np.int16) for n in (50, 7)] for kind in ("speech", "rir")}
    for kind, waves in made.items():
        (tmp_path / kind).mkdir()
        items = [(f"{kind}/{number}", wave) for number, wave in enumerate(waves)]
        write_scp(tmp_path / kind, write_wave_ark(tmp_path / kind / "sounds.00000.ark", items, 8000))
    return made


def test_sounds_come_back_in_the_order_of_their_ids_as_floats(tmp_path, sounds):
    bank = ArchiveBank(tmp_path)
    for kind, waves in sounds.items():
        assert bank.num(kind) == 2
        for index, wave in enumerate(waves):
            assert bank.length(kind, index) == len(wave)
            found = bank.get(kind, index, 0, len(wave))
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, wave / 32768)


def test_a_crop_is_part_of_the_whole(tmp_path, sounds):
    found = ArchiveBank(tmp_path).get("speech", 0, 11, 20)
    np.testing.assert_array_equal(found, sounds["speech"][0][11:31] / 32768)


def test_a_kind_that_is_not_there_has_no_sounds(tmp_path, sounds):
    assert ArchiveBank(tmp_path).num("noise") == 0
