"""What every embedding network offers to training, embedding and scoring."""

from collections.abc import Sequence

from torch import Tensor, nn


class EmbeddingNetwork(nn.Module):
    """From features to one vector per clip.

    Subclasses set `embedding_dim`, `classifier_dim` (of the training head's input) and `min_frames` (the shortest clip),
    and define `forward(feats_BTF, num_frames_B=None) -> embedding_BD`, in which frames of clip b from `num_frames_B[b]` on
    are padding and change nothing. A network whose layers cannot be masked sets `takes_padding = False` and is given
    clips of one length only.
    """

    embedding_dim: int
    classifier_dim: int
    min_frames: int
    takes_padding = True

    def classifier_input(self, embedding_BD: Tensor) -> Tensor:
        """Returns what the training head sees: the embedding, or a layer behind it."""
        return embedding_BD

    def frame_part(self) -> Sequence[nn.Module]:
        """Returns the layers before the pooling: what full-length refinement keeps as it is."""
        raise NotImplementedError

    def after_update(self, update: int) -> None:
        """Called after each update of the weights (counted from 1), for constraints on them."""
