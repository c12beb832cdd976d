"""What every embedding network offers to training, embedding and scoring."""

from collections.abc import Sequence

from torch import Tensor, nn

from steps.nnet.layers import check_frozen_statistics, check_min_frames, padded_lengths


class EmbeddingNetwork(nn.Module):
    """From features to one vector per clip.

    Subclasses set `embedding_dim`, `classifier_dim` (of the training head's input) and `min_frames` (the shortest clip),
    and define `forward(feats_BTF, num_frames_B=None) -> embedding_BD`, in which frames of clip b from `num_frames_B[b]` on
    are padding and change nothing.

    A network whose layers cannot run in bfloat16 on every hardware names these in `bf16_layers` (precision.py tries them);
    the layers of others are emulated where there is no such hardware.
    """

    embedding_dim: int
    classifier_dim: int
    min_frames: int
    bf16_layers: tuple[str, ...] = ()

    def lengths_of(self, feats_BTF: Tensor, num_frames_B: Tensor | None, also: Sequence[nn.Module] = ()) -> Tensor | None:
        """Returns lengths_B on the features' device, or None where no clip is padded: what `forward` begins with.

        Args:
            feats_BTF: of the batch.
            num_frames_B: as given to `forward`.
            also: modules behind the frame part whose batch norms see frames.

        Raises:
            ValueError: a clip is shorter than `min_frames`, lengths do not fit the batch, or clips are padded while a batch
                norm that sees frames is in training mode.
        """
        check_min_frames(feats_BTF, num_frames_B, self.min_frames)
        lengths_B = padded_lengths(feats_BTF, num_frames_B)
        if lengths_B is not None:
            check_frozen_statistics(nn.ModuleList([*self.frame_part(), *also]))
        return lengths_B

    def classifier_input(self, embedding_BD: Tensor) -> Tensor:
        """Returns what the training head sees: the embedding, or a layer behind it."""
        return embedding_BD

    def frame_part(self) -> Sequence[nn.Module]:
        """Returns the layers before the pooling: what full-length refinement keeps as it is."""
        raise NotImplementedError

    def after_update(self, update: int) -> None:
        """Called after each update of the weights (counted from 1), for constraints on them."""
