"""How any stage runs. Imported first by every stage script, and therefore before numpy and torch."""

import os

# One thread in numpy's algebra also where a notebook or a test takes parts of this library, unless its environment says
# otherwise. What a stage computes on is not left to the environment: see threads.py.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
