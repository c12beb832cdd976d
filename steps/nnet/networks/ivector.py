"""I-vectors as an embedding network: the UBM and the total-variability extractor are its parameters, trained by EM."""

import torch
from torch import Tensor, nn

from steps.nnet.ivector.mixture import Densities, Mixture
from steps.nnet.ivector.statistics import Statistics, baum_welch
from steps.nnet.ivector.total_variability import Extractor, Posterior
from steps.nnet.networks.base import EmbeddingNetwork
from steps.nnet.settings import IVector


class _Derived(nn.Module):
    """Parameters without gradients, and what is computed of them once, until they change or move."""

    def keep(self, **tensors: Tensor) -> None:
        """Makes parameters of tensors, in float32."""
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor.float(), requires_grad=False))
        self._known: tuple = ()
        self._derived: object = None

    def derived(self) -> object:
        """Returns what `derive` returns for the parameters as they are."""
        now = tuple((p.data_ptr(), p._version, p.device) for p in self.parameters())
        if now != self._known:
            self._known, self._derived = now, self.derive()
        return self._derived

    def derive(self) -> object:
        """Returns what is needed of the parameters."""
        raise NotImplementedError


class BackgroundModel(_Derived):
    """The UBM: from frames to Baum-Welch statistics."""

    def __init__(self, settings: IVector, num_bins: int) -> None:
        super().__init__()
        self.settings = settings
        num = settings.num_gaussians
        self.keep(
            weights_C=torch.full((num,), 1.0 / num), means_CF=torch.randn(num, num_bins),
            covariances_CFF=torch.eye(num_bins).repeat(num, 1, 1),
        )  # fmt: skip

    def mixture(self) -> Mixture:
        """Returns the mixture in double."""
        return Mixture(self.weights_C, self.means_CF, self.covariances_CFF).to(self.means_CF.device)

    def derive(self) -> Densities:
        return Densities(self.mixture(), self.settings.gselect)

    def forward(self, feats_TF: Tensor, utterance_T: Tensor, num_utterances: int) -> tuple[Tensor, Tensor]:
        """Returns zeroth and first-order statistics, `[U, C]` and `[U, C, F]`."""
        s = self.settings
        found = baum_welch(
            self.derived(), feats_TF, utterance_T, num_utterances, floor=s.posterior_floor, scale=s.posterior_scale
        )  # fmt: skip
        return found.count_UC, found.first_UCF


class TotalVariability(_Derived):
    """The extractor: from Baum-Welch statistics to i-vectors."""

    def __init__(self, settings: IVector, num_bins: int) -> None:
        super().__init__()
        num, dim = settings.num_gaussians, settings.embedding_dim
        self.keep(
            ubm_means_CF=torch.zeros(num, num_bins), means_CF=torch.zeros(num, num_bins),
            loadings_CFR=torch.randn(num, num_bins, dim) * (0.1 / dim) ** 0.5,
            covariances_CFF=torch.eye(num_bins).repeat(num, 1, 1),
        )  # fmt: skip

    def derive(self) -> Posterior:
        device = self.means_CF.device
        extractor = Extractor(self.means_CF, self.loadings_CFR, self.covariances_CFF).to(device)
        return Posterior(extractor, self.ubm_means_CF.double())

    def forward(self, count_UC: Tensor, first_UCF: Tensor) -> Tensor:
        """Returns i-vectors, `[U, R]` in double."""
        return self.derived().mean(Statistics(count_UC, first_UCF))


class IVectorNet(EmbeddingNetwork):
    """The mean of w given an utterance's frames. Gradients do not pass it, and it computes alike under any autocast.

    Fresh, it is a mixture of random means and a random extractor: `fill` puts in what EM has found. At Kaldi's size it holds
    80 million numbers, and what it derives of them 1.9 GB.
    """

    def __init__(self, settings: IVector, num_bins: int) -> None:
        super().__init__()
        self.ubm = BackgroundModel(settings, num_bins)
        self.extractor = TotalVariability(settings, num_bins)
        self.min_frames = 1
        self.embedding_dim = self.classifier_dim = settings.embedding_dim

    @torch.no_grad()
    def fill(self, mixture: Mixture, extractor: Extractor) -> None:
        """Takes over a UBM and an extractor."""
        mixture = mixture.full()
        for parameter, value in (
            (self.ubm.weights_C, mixture.weights_C), (self.ubm.means_CF, mixture.means_CF),
            (self.ubm.covariances_CFF, mixture.covariances), (self.extractor.ubm_means_CF, mixture.means_CF),
            (self.extractor.means_CF, extractor.means_CF), (self.extractor.loadings_CFR, extractor.loadings_CFR),
            (self.extractor.covariances_CFF, extractor.covariances_CFF),
        ):  # fmt: skip
            parameter.copy_(value)

    @torch.no_grad()
    def forward(self, feats_BTF: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        """Returns embedding_BD in float32; frames of clip b from `num_frames_B[b]` on are padding and change nothing.

        Raises:
            ValueError: a clip has no frame, or lengths do not fit the batch.
        """
        lengths_B = self.lengths_of(feats_BTF, num_frames_B)
        batch, longest = feats_BTF.shape[:2]
        with torch.autocast(feats_BTF.device.type, enabled=False):
            if lengths_B is None:
                lengths_B = torch.full((batch,), longest, device=feats_BTF.device)
            real_BT = torch.arange(longest, device=feats_BTF.device) < lengths_B[:, None]
            owner_T = torch.repeat_interleave(torch.arange(batch, device=feats_BTF.device), lengths_B)
            return self.extractor(*self.ubm(feats_BTF[real_BT].float(), owner_T, batch)).float()

    def frame_part(self) -> list[nn.Module]:
        """Returns the UBM."""
        return [self.ubm]
