"""Energy-based voice activity detection."""

import torch


def energy_vad(
    log_energy_T: torch.Tensor, *, threshold: float, mean_scale: float, context: int, proportion: float
) -> torch.Tensor:
    """Returns True for each frame that is speech, `[T]`.

    A frame is loud if its log energy is over threshold + mean_scale * (mean log energy of the utterance). It
    is speech if at least `proportion` of the frames from `context` before to `context` after it, as far as
    they exist, are loud.

    Args:
        log_energy_T: natural log energy on samples of +-32768 (features.log_energy).
        threshold: constant part; Kaldi's recipes use 5.5.
        mean_scale: factor of the mean; 0.5.
        context: frames on each side; 2 in egs/voxceleb/v2 (0 in the program).
        proportion: share between 0 and 1; 0.12 in egs/voxceleb/v2 (0.6 in the program).

    Source: Kaldi src/ivector/voice-activity-detection.cc, ComputeVadEnergy. One older copy in public looks
    at frame t, not its neighbours, in the context loop; this is the corrected rule.
    """
    if log_energy_T.ndim != 1 or len(log_energy_T) == 0:
        raise ValueError(f"log_energy_T: expected one value per frame, found shape {tuple(log_energy_T.shape)}")
    energy_T = log_energy_T.double()
    loud_T = energy_T > threshold + mean_scale * energy_T.mean()
    frame_T = torch.arange(len(loud_T), device=loud_T.device)
    begin_T = (frame_T - context).clamp_min(0)
    end_T = (frame_T + context + 1).clamp_max(len(loud_T))
    count_T = torch.nn.functional.pad(loud_T.long().cumsum(0), (1, 0))
    num_loud_T = count_T[end_T] - count_T[begin_T]
    return num_loud_T >= (end_T - begin_T) * proportion
