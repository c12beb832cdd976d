#!/usr/bin/env bash
# numpy 2.4.6 (OpenBLAS 0.3.31): with the kernels for CPUs with AVX2 a row of a float32 product has other bits at another place
# of the matrix, on one thread and at one shape; with those for AVX-512 it has not. Seen: 43 of 256 rows differ after all rows
# moved by one place (Haswell, and Zen), 0 with SkylakeX and Nehalem. So scores of an embedding against a cohort, computed in
# blocks of one shape, still depend on its neighbours' number, on these CPUs only.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
grep -q avx2 /proc/cpuinfo || { echo "needs a CPU with AVX2"; exit 0; }
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet numpy==2.4.6
cat >"$folder/moved.py" <<'PYTHON'
import numpy as np

rng = np.random.default_rng(1)
rows, cohort = rng.normal(size=(256, 24)).astype(np.float32), rng.normal(size=(24, 500)).astype(np.float32)
moved = np.roll(np.roll(rows, 1, axis=0) @ cohort, -1, axis=0)
print(int((moved != rows @ cohort).any(axis=1).sum()))
PYTHON
for kernel in Haswell Nehalem; do
  number=$(OPENBLAS_NUM_THREADS=1 OPENBLAS_CORETYPE=$kernel "$folder/venv/bin/python" "$folder/moved.py")
  echo "$kernel: $number of 256 rows have other bits one place further"
  if [ "$kernel" = Haswell ]; then [ "$number" -gt 0 ]; else [ "$number" -eq 0 ]; fi
done
