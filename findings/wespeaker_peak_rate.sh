#!/usr/bin/env bash
# WeSpeaker (wespeaker-unofficial 0.0.2): a recipe that says initial_lr 0.1 and six epochs of warm-up never runs at 0.1. The
# program multiplies all rates by processes x batch / 64 (4 for the two processes of 128 that its recipes name), and the decay
# runs under the warm-up, so that the highest rate is 0.295, after the warm-up. Whoever copies 0.1 trains at a third of it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-deps wespeaker-unofficial==0.0.2
cat >"$folder/rate.py" <<'PYTHON'
import importlib.util
from importlib.metadata import distribution

file = distribution("wespeaker-unofficial").locate_file("wespeaker/utils/schedulers.py")  # the package itself needs torch
spec = importlib.util.spec_from_file_location("schedulers", file)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
run = module.ExponentialDecrease(
    None, num_epochs=150, epoch_iter=2, initial_lr=0.1, final_lr=0.00005, warm_up_epoch=6, scale_ratio=2 * 128 / 64,
    warm_from_zero=True,
)
rates = [run.step_return_lr(update) for update in range(300)]
print(f"highest rate {max(rates):.3f}, at epoch {rates.index(max(rates)) / 2:.1f}; initial_lr is 0.1")
assert 0.294 < max(rates) < 0.296
PYTHON
"$folder/venv/bin/python" "$folder/rate.py"
