"""Voice activity detection against the rule written as a loop."""

import numpy as np
import pytest
import torch

from steps.signal.vad import energy_vad

KALDI = {"threshold": 5.5, "mean_scale": 0.5, "context": 2, "proportion": 0.12}


def vad_loop(energy_T: np.ndarray, *, threshold: float, mean_scale: float, context: int, proportion: float) -> list[bool]:
    limit = threshold + mean_scale * energy_T.mean()
    speech = []
    for t in range(len(energy_T)):
        votes = [energy_T[u] > limit for u in range(t - context, t + context + 1) if 0 <= u < len(energy_T)]
        speech.append(sum(votes) >= len(votes) * proportion)
    return speech


@pytest.mark.parametrize("context", [0, 2, 5])
@pytest.mark.parametrize("proportion", [0.12, 0.6])
def test_vad_equals_the_loop(context, proportion):
    settings = KALDI | {"context": context, "proportion": proportion}
    for num_frames in (1, 3, 500):
        energy_T = 11 + 4 * np.random.default_rng(num_frames).standard_normal(num_frames)
        found = energy_vad(torch.from_numpy(energy_T), **settings).tolist()
        assert found == vad_loop(energy_T, **settings)


def test_a_single_loud_frame_brings_its_neighbours_in():
    energy_T = torch.full((20,), 2.0)
    energy_T[10] = 20.0
    assert energy_vad(energy_T, **KALDI).nonzero().flatten().tolist() == [8, 9, 10, 11, 12]


def test_the_threshold_itself_is_not_speech():
    settings = {"threshold": 6.0, "mean_scale": 0.0, "context": 0, "proportion": 0.5}
    assert energy_vad(torch.tensor([6.0, 6.001]), **settings).tolist() == [False, True]


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="one value per frame"):
        energy_vad(torch.zeros(0), **KALDI)
