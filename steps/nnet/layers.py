"""Building blocks of the networks and the bookkeeping of padded batches.

Shapes, for the whole package: B batch, T frames, F feature bins, C channels, D embedding, S speakers.

A padded batch gives the embeddings of its clips one by one if no real frame ever sees padding that a lone clip would
not have. Layers without padding of their own need only a mask at the pooling; layers that pad with zeros need padding
frames that are zero at their input, hence `zero_padding` before each of them.
"""

import torch
from torch import Tensor, nn

# Kaldi's BatchNormComponent; torch's default is 1e-5.
KALDI_BATCH_NORM_EPSILON = 1e-3


def padded_lengths(feats_BTF: Tensor, num_frames_B: Tensor | None) -> Tensor | None:
    """Returns the lengths on the features' device, or None where no clip of the batch is padded.

    Raises:
        ValueError: there are not as many lengths as clips, or one lies outside 1..T.
    """
    if num_frames_B is None:
        return None
    batch, longest = feats_BTF.shape[:2]
    if num_frames_B.shape != (batch,):
        raise ValueError(f"num_frames: expected one for each of {batch} clips, found shape {tuple(num_frames_B.shape)}")
    lowest, highest = int(num_frames_B.min()), int(num_frames_B.max())
    if lowest < 1 or highest > longest:
        raise ValueError(f"num_frames: expected 1 to {longest} (the frames of the batch), found {lowest} to {highest}")
    return None if lowest == longest else num_frames_B.to(feats_BTF.device)


def check_min_frames(feats_BTF: Tensor, num_frames_B: Tensor | None, min_frames: int) -> None:
    """Raises ValueError if a clip is shorter than the network needs."""
    shortest = feats_BTF.shape[1] if num_frames_B is None else int(num_frames_B.min())
    if shortest < min_frames:
        raise ValueError(f"clip too short: the network needs {min_frames} frames, found {shortest}")


def check_frozen_statistics(frame_layers: nn.Module) -> None:
    """Raises ValueError if a batch-norm layer would count padding as speech.

    Training on clips of one length, or on any lengths with the frame layers' batch norms in eval mode, is fine.
    """
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in frame_layers.modules()):
        raise ValueError(
            "padded batch with batch norms in training mode: padding would enter their statistics; "
            "train on clips of one length or put the frame layers into eval mode"
        )


def frame_mask(num_frames_B: Tensor, num_frames: int) -> Tensor:
    """Returns mask_BT, true on real frames."""
    return torch.arange(num_frames, device=num_frames_B.device) < num_frames_B[:, None]


def mask_of(lengths_B: Tensor | None, num_frames: int) -> Tensor | None:
    """Returns mask_BT, or None where no clip is padded."""
    return None if lengths_B is None else frame_mask(lengths_B, num_frames)


def zero_padding(x: Tensor, mask_BT: Tensor | None) -> Tensor:
    """Returns x, time in its last dimension, with zeros behind each clip's end; x itself where mask is None."""
    if mask_BT is None:
        return x
    mask = mask_BT.view(mask_BT.shape[0], *(1,) * (x.ndim - 2), -1)
    return x.masked_fill(~mask, 0.0)


def at_least_float32(x: Tensor) -> Tensor:
    """Returns x in float32, or in double if it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class EmbeddingLayer(nn.Linear):
    """An affine map in float32 also under autocast: it costs little, and embeddings get no bfloat16 rounding."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(at_least_float32(x))


class TDNNLayer(nn.Module):
    """Affine over spliced frames, ReLU, batch norm without affine, in this order (Kaldi's relu-batchnorm-layer).

    Shape: x_BCT -> [B, out_channels, T - context], without padding.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.affine = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation)
        self.norm = nn.BatchNorm1d(out_channels, eps=KALDI_BATCH_NORM_EPSILON, affine=False)
        self.context = (kernel_size - 1) * dilation

    def forward(self, x_BCT: Tensor) -> Tensor:
        return self.norm(torch.relu(self.affine(x_BCT)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut, projected (1x1 and batch norm) where the shape changes.

    Shape: x_BCFT -> [B, channels, ceil(F / stride), ceil(T / stride)]; mask_BT is that of the output.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x_BCFT: Tensor, mask_BT: Tensor | None = None) -> Tensor:
        inner = zero_padding(torch.relu(self.norm1(self.conv1(x_BCFT))), mask_BT)
        outer = self.norm2(self.conv2(inner)) + self.shortcut(x_BCFT)
        return zero_padding(torch.relu(outer), mask_BT)
