"""Sizes are those of torch's own layers; the layout is set only where torch is sound."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from steps.nnet.planes import Window, fewest_inputs, rows_left, use_channels_last


@pytest.mark.parametrize(
    "window", [Window(1), Window(1, 2), Window(2, 2), Window(3, 2, 1), Window(7, 1, 1), Window(5, 3), Window(7, 2, 3)]
)
def test_windows_have_the_sizes_of_convolutions(window):
    kernel = torch.zeros(1, 1, window.kernel)
    for size in range(1, 30):
        if size + 2 * window.padding < window.kernel:
            assert window.outputs(size) < 1
            continue
        y = functional.conv1d(torch.zeros(1, 1, size), kernel, stride=window.stride, padding=window.padding)
        assert window.outputs(size) == y.shape[-1]
        assert int(window.outputs(torch.tensor(size))) == y.shape[-1]


def test_a_chain_needs_exactly_its_fewest_inputs():
    for windows in (
        [Window(7, 2, 1), Window(3, 2)],
        [Window(1, 2)],
        [Window(3, 1, 1), Window(5, 3), Window(2, 2)],
        [Window(7, 2, 3)],
    ):
        needed = fewest_inputs(windows)
        sizes = {}
        for start in range(1, 60):
            size = start
            for window in windows:
                size = window.outputs(size) if size >= 1 else 0
            sizes[start] = size
        assert needed == min(start for start, size in sizes.items() if size >= 1)
        assert rows_left("x", windows, needed + 7) == sizes[needed + 7]


def test_too_few_bins_are_refused():
    assert rows_left("x", iter([Window(3), Window(3)]), 5) == 1
    with pytest.raises(ValueError, match="'x': expected at least 5 feature bins, found 4"):
        rows_left("x", [Window(3), Window(3)], 4)


@pytest.mark.parametrize(("widths", "expected"), [((16, 32), True), ((16, 24), False), ((18, 32), False)])
def test_channels_last_only_with_multiples_of_sixteen(widths, expected):
    layers = nn.Sequential(nn.Conv2d(1, widths[0], 3), nn.Conv2d(*widths, 3))
    use_channels_last(layers)
    assert layers[1].weight.is_contiguous(memory_format=torch.channels_last) == expected
