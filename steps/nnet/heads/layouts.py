"""How the examples of a batch belong together, read from their labels, and the distances between them.

Pairs: examples 2i and 2i + 1 are pair i, of one speaker exactly if their labels are equal. Groups: N speakers with M
examples each, speaker after speaker.
"""

import torch
from torch import Tensor

# Within square roots: the gradient of a distance at 0 is then 0 instead of undefined.
SQRT_EPSILON = 1e-12


def same_consecutive(labels_B: Tensor) -> Tensor:
    """Returns same_K: whether examples 2k and 2k + 1 are of one speaker.

    Raises:
        ValueError: the number of examples is odd, or no pair is of two speakers.
    """
    if len(labels_B) % 2:
        raise ValueError(f"batch of pairs: expected an even number of examples, found {len(labels_B)}")
    same_K = labels_B[0::2] == labels_B[1::2]
    if bool(same_K.all()):
        raise ValueError(
            f"batch of {len(same_K)} pairs: expected some of two different speakers (train.sampling = 'pairs'), found none"
        )
    return same_K


def same_all(labels_B: Tensor) -> Tensor:
    """Returns same_K over all i < j, in the order of torch.triu_indices: whether examples i and j are of one speaker.

    Raises:
        ValueError: all examples are of one speaker.
    """
    if bool((labels_B == labels_B[0]).all()):
        raise ValueError(f"batch of {len(labels_B)} examples: expected more than one speaker, found one")
    return upper(labels_B[:, None] == labels_B)


def upper(x_BB: Tensor) -> Tensor:
    """Returns x_K: the entries above the diagonal, row after row."""
    first_K, second_K = torch.triu_indices(*x_BB.shape, offset=1, device=x_BB.device)
    return x_BB[first_K, second_K]


def group_shape(labels_B: Tensor, least: int = 2) -> tuple[int, int]:
    """Returns N and M of a batch in which rows n * M to n * M + M - 1 are speaker n.

    Raises:
        ValueError: the batch is not so built, has one speaker, or fewer than `least` examples of each.
    """
    speakers_N, sizes_N = torch.unique_consecutive(labels_B, return_counts=True)
    sizes = sorted(set(sizes_N.tolist()))
    if len(sizes) != 1 or len(torch.unique(speakers_N)) != len(speakers_N):
        raise ValueError(
            f"batch of {len(labels_B)} examples: expected equally many of each speaker, speaker after speaker "
            f"(train.sampling = 'groups', no speed changes as new speakers), found runs of {', '.join(map(str, sizes))}"
        )
    if len(speakers_N) < 2:
        raise ValueError(f"batch of {len(labels_B)} examples: expected at least 2 speakers, found 1")
    if sizes[0] < least:
        raise ValueError(f"batch of groups: expected at least {least} of each speaker (train.group_size), found {sizes[0]}")
    return len(speakers_N), sizes[0]


def squared_distances(x_BD: Tensor, y_ND: Tensor) -> Tensor:
    """Returns squared Euclidean distances `[B, N]`, from differences: exact also where they are small."""
    return torch.cdist(x_BD, y_ND, compute_mode="donot_use_mm_for_euclid_dist").square()


def distance(squared: Tensor) -> Tensor:
    """Returns the Euclidean distance of squared ones, with a finite gradient at 0."""
    return (squared + SQRT_EPSILON).sqrt()
