"""From features to embeddings, in batches that do not depend on who asks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import nn

BATCH_SECONDS = 40.0  # of a batch after padding
MAX_BATCH = 32  # utterances of a batch


def length_batches(num_frames: Sequence[int], batch_frames: int, max_batch: int = MAX_BATCH) -> list[list[int]]:
    """Returns batches of indices of like length: sorted by length, at most `batch_frames` frames after padding.

    They are fixed by the lengths alone, so that embeddings do not depend on how batches are shared out to processes.
    """
    order = sorted(range(len(num_frames)), key=lambda index: (num_frames[index], index))
    batches: list[list[int]] = []
    for index in order:
        if not batches or len(batches[-1]) >= max_batch or (len(batches[-1]) + 1) * num_frames[index] > batch_frames:
            batches.append([])
        batches[-1].append(index)
    return batches


def embed(
    model: nn.Module,
    batches: Sequence[Sequence[int]],
    load: Callable[[int], np.ndarray],
    *,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager],
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields index and float32 embedding `[D]` of every item of the batches.

    Args:
        model: put into evaluation mode here.
        batches: lists of indices, see `length_batches`.
        load: index -> features `[T, F]`; shorter ones than the model needs are repeated until they are long enough.
        device: where the model is.
        autocast: the context of the forward pass.
    """
    model.eval()
    for batch in batches:
        feats = [_long_enough(load(index), model.min_frames) for index in batch]
        longest = max(len(each) for each in feats)
        padded_BTF = np.zeros((len(batch), longest, feats[0].shape[1]), dtype=np.float32)
        for row, each in enumerate(feats):
            padded_BTF[row, : len(each)] = each
        lengths = [len(each) for each in feats]
        num_frames_B = None if min(lengths) == longest else torch.tensor(lengths, device=device)
        with torch.inference_mode(), autocast():
            embedding_BD = model(torch.from_numpy(padded_BTF).to(device), num_frames_B)
        yield from zip(batch, embedding_BD.float().cpu().numpy(), strict=True)


def _long_enough(feats_TF: np.ndarray, min_frames: int) -> np.ndarray:
    if len(feats_TF) >= min_frames:
        return feats_TF
    return np.concatenate([feats_TF] * -(-min_frames // len(feats_TF)))
