"""Times our fbank against torchaudio.compliance.kaldi and kaldi-native-fbank, and prints a table.

    python -m benchmarks.fbank [--repeats 200] [--seconds 4] [--num-mel-bins 80]

One utterance at a time on one thread. The programs take turns within each repeat, so that a busy machine
slows all of them alike; the figure is the median over repeats. All three compute the same features (the
largest difference from ours stands in the table).
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import kaldi_native_fbank
import numpy as np
import torch
import torchaudio

from steps.signal.features import fbank
from steps.signal.settings import Fbank

Program = Callable[[np.ndarray], np.ndarray]


def ours(settings: Fbank) -> Program:
    """Returns our fbank, samples to features."""
    return lambda waveform_W: fbank(torch.from_numpy(waveform_W), settings).numpy()


def torchaudio_fbank(settings: Fbank) -> Program:
    """Returns torchaudio's fbank with the same settings."""

    def compute(waveform_W: np.ndarray) -> np.ndarray:
        samples_CW = torch.from_numpy(waveform_W)[None] * 32768
        bins = settings.num_mel_bins
        return torchaudio.compliance.kaldi.fbank(samples_CW, num_mel_bins=bins, snip_edges=settings.snip_edges).numpy()

    return compute


def native_fbank(settings: Fbank) -> Program:
    """Returns kaldi-native-fbank with the same settings."""
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0
    options.frame_opts.snip_edges = settings.snip_edges
    options.mel_opts.num_bins = settings.num_mel_bins

    def compute(waveform_W: np.ndarray) -> np.ndarray:
        extractor = kaldi_native_fbank.OnlineFbank(options)
        extractor.accept_waveform(settings.sampling_rate, waveform_W * 32768)
        extractor.input_finished()
        return np.stack([extractor.get_frame(t) for t in range(extractor.num_frames_ready)])

    return compute


def measure(programs: dict[str, Program], waveforms: list[np.ndarray]) -> dict[str, float]:
    """Returns the median seconds per utterance of each program; the first utterances only warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for waveform_W in waveforms[:5] + waveforms:
        for name, program in programs.items():
            begin = time.perf_counter()
            program(waveform_W)
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values[5:]) for name, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time fbank programs against each other.")
    parser.add_argument("--repeats", type=int, default=200, help="utterances measured (200)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of an utterance (4)")
    parser.add_argument("--num-mel-bins", type=int, default=80, help="number of mel filters (80)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = Fbank(name="benchmark", num_mel_bins=args.num_mel_bins)
    rng = np.random.default_rng(0)
    shape = (args.repeats, round(args.seconds * settings.sampling_rate))
    waveforms = list(0.1 * rng.standard_normal(shape, dtype=np.float32))
    programs = {
        "steps.signal.features": ours(settings),
        f"torchaudio {torchaudio.__version__}": torchaudio_fbank(settings),
        f"kaldi-native-fbank {kaldi_native_fbank.__version__}": native_fbank(settings),
    }
    with torch.inference_mode():
        seconds = measure(programs, waveforms)
        reference_TF = programs["steps.signal.features"](waveforms[0])
        distance = {name: np.abs(program(waveforms[0]) - reference_TF).max() for name, program in programs.items()}
    base = seconds["steps.signal.features"]
    print(f"fbank, {args.num_mel_bins} bins, {args.seconds:g} s utterances, one thread, median of {args.repeats}")
    print("| program | ms per utterance | times ours | times real time | largest difference |")
    print("|---|---|---|---|---|")
    for name, value in seconds.items():
        real = args.seconds / value
        print(f"| {name} | {1e3 * value:.2f} | {value / base:.2f} | {real:.0f} | {distance[name]:.5f} |")


if __name__ == "__main__":
    main()
