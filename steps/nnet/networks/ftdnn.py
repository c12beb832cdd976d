"""The factorised TDNN: affine maps as products of two thin factors, the first of which is kept semi-orthogonal."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import KALDI_BATCH_NORM_EPSILON, TDNNLayer
from steps.nnet.networks.xvector import TimeDelayNetwork, center_crop
from steps.nnet.pooling import POOLINGS
from steps.nnet.settings import FTDNN

# Of layers 2 to 9: frames between the two taps of each factor, and the layers whose outputs make the input.
OFFSETS = {2: 2, 3: 0, 4: 3, 5: 0, 6: 3, 7: 3, 8: 3, 9: 0}
INPUTS = {2: (1,), 3: (2,), 4: (3,), 5: (3,), 6: (5,), 7: (2, 4), 8: (7,), 9: (4, 6, 8)}
# Kaldi's bounds on what `spread` calls so, above which the step is half or a quarter as long.
SLOW_ABOVE = (1.02, 1.1)


class FactorisedNet(TimeDelayNetwork):
    """Ten frame layers, pooling over time, one affine map to the embedding.

    Layer 1 sees frames {-2..2}; layers 2 to 9 are factorised, with skip connections by concatenation into layers 7 (from 2
    and 4) and 9 (from 4, 6, 8); layer 5 takes the output of layer 3; layer 10 is dense.
    11,884,544 parameters to the embedding with 30 inputs, 12,147,200 with the second segment layer.

    No layer pads: a clip loses 13 frames at each end, and where outputs of several layers meet, the longer ones lose
    frames at both ends until they are as long as the shortest. Those are the frames that Kaldi would compute. asv-subtools
    pads every layer with zeros instead, so its first and last 13 frames differ.

    Source: Garcia-Romero et al., Interspeech 2019; Snowdar/asv-subtools, factored_xvector.py.
    """

    def __init__(self, settings: FTDNN, num_bins: int) -> None:
        super().__init__()
        width = {1: settings.first_channels, **dict.fromkeys(OFFSETS, settings.channels)}
        self.first = TDNNLayer(num_bins, settings.first_channels, 5)
        self.factorised = nn.ModuleList()
        # frames lost at each end, up to a layer
        lost = {1: 2}
        for layer, offset in OFFSETS.items():
            sources = INPUTS[layer]
            # 0 for layers 2, 7 and 9, whatever the widths of a narrow variant
            bypass = settings.bypass if layer in (3, 4, 5, 6, 8) else 0.0
            inputs = sum(width[source] for source in sources)
            self.factorised.append(FactorisedLayer(inputs, settings.channels, settings.bottleneck, offset, bypass))
            lost[layer] = max(lost[source] for source in sources) + offset
        self.last = TDNNLayer(settings.channels, settings.penultimate)
        self.orthogonal_every = settings.orthogonal_every
        self.orthogonal_slowed = settings.orthogonal_slowed
        pooling = POOLINGS[settings.pooling]()
        self.add_segment_part(settings, pooling, pooling.factor * settings.penultimate, 2 * lost[9])

    def frame_level(self, x_BCT: Tensor) -> Tensor:
        outputs = {1: self.first(x_BCT)}
        for layer, module in zip(OFFSETS, self.factorised, strict=True):
            outputs[layer] = module(joined([outputs[source] for source in INPUTS[layer]]))
        return self.last(outputs[9])

    def frame_part(self) -> list[nn.Module]:
        """Returns the ten frame layers."""
        return [self.first, self.factorised, self.last]

    def after_update(self, update: int) -> None:
        """Takes one step towards semi-orthogonal first factors on every fourth update, or as set."""
        if update % self.orthogonal_every == 0:
            for layer in self.factorised:
                if layer.factor.weight.requires_grad:  # a frozen layer stays as it is
                    layer.step_to_orthogonal(self.orthogonal_slowed)


class FactorisedLayer(nn.Module):
    """Two thin convolutions, ReLU, batch norm without affine, plus the scaled input.

    The first factor sees frames {-offset, 0} and has no bias, the second {0, offset}; with an offset of 0 both see one
    frame. The first starts from normal numbers of variance 1 / columns, as in Kaldi.

    Shape: x_BCT -> [B, out_channels, T - 2 * offset].

    Source: Povey et al., "Semi-orthogonal low-rank matrix factorization for deep neural networks", Interspeech 2018.
    """

    def __init__(self, in_channels: int, out_channels: int, bottleneck: int, offset: int, bypass: float) -> None:
        super().__init__()
        taps, dilation = (2, offset) if offset else (1, 1)
        self.factor = nn.Conv1d(in_channels, bottleneck, taps, dilation=dilation, bias=False)
        self.affine = nn.Conv1d(bottleneck, out_channels, taps, dilation=dilation)
        self.norm = nn.BatchNorm1d(out_channels, eps=KALDI_BATCH_NORM_EPSILON, affine=False)
        self.bypass = bypass
        nn.init.normal_(self.factor.weight, std=(in_channels * taps) ** -0.5)

    def forward(self, x_BCT: Tensor) -> Tensor:
        y_BCT = self.norm(torch.relu(self.affine(self.factor(x_BCT))))
        return y_BCT + self.bypass * center_crop(x_BCT, y_BCT.shape[2]) if self.bypass else y_BCT

    @torch.no_grad()
    def step_to_orthogonal(self, slowed: bool = False) -> None:
        """Moves the first factor, rows over input channels and taps, towards M M' = s^2 I."""
        weight = self.factor.weight
        weight.copy_(nearer_to_orthogonal(weight.flatten(1), slowed).view_as(weight))


def joined(outputs_BCT: list[Tensor]) -> Tensor:
    """Returns the channels of all, on the middle frames that all of them have."""
    num_frames = min(x_BCT.shape[2] for x_BCT in outputs_BCT)
    return torch.cat([center_crop(x_BCT, num_frames) for x_BCT in outputs_BCT], dim=1)


def nearer_to_orthogonal(matrix: Tensor, slowed: bool = False) -> Tensor:
    """Returns M - (M M' - s^2 I) M / (2 s^2), whose rows are nearer to orthogonal and of equal norm than those of M.

    The scale floats: s^2 = tr(P P') / tr(P), P = M M'. Near the goal the error is squared by each step. With `slowed` the
    step is half as long where N tr(P P') / tr(P)^2, N rows, is above 1.02, and a quarter as long above 1.1, so that a
    matrix with one dominant direction does not overshoot.

    Source: Povey et al., Interspeech 2018, eq. 2 to 4; Kaldi, ConstrainOrthonormalInternal (the slowing).
    """
    product = matrix @ matrix.T
    trace, trace_of_square = product.trace(), product.square().sum()
    scale2 = trace_of_square / trace
    length = 0.5 / scale2
    if slowed:
        spread = len(matrix) * trace_of_square / trace**2
        for bound in SLOW_ABOVE:
            length = torch.where(spread > bound, length / 2, length)
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return matrix - length * (product - scale2 * identity) @ matrix
