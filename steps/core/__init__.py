"""How any stage runs. Imported first by every stage script, and therefore before numpy and torch."""

import os

# One thread in numpy's algebra, so that sums do not depend on how many cores a machine has; torch's count is set
# where torch is used. An explicit choice in the environment stands.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
