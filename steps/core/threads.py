"""How many threads compute: decided by settings, never by the environment or by how many cores a machine has.

A matrix product on two threads has other last bits than on one, and so have all scores made of it. Stages therefore run numpy,
scipy and scikit-learn on one thread each; torch runs on as many as a setting says (train.threads, embed.threads), which stages
tell it themselves. What runs side by side beyond that (units of work, blocks of a cohort) changes no number.
"""

import os

from threadpoolctl import threadpool_limits

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Of these, some have the last word over the number that a program asks for, others let a library take fewer when it sees fit.
_OVERRULING = ("OMP_THREAD_LIMIT", "OMP_DYNAMIC", "MKL_DYNAMIC", "MKL_DOMAIN_NUM_THREADS")


def pin_threads() -> None:
    """Have this process, and those that it starts, compute on one thread until torch is told otherwise.

    Libraries that load later read it in the environment; those that are there already (numpy stands on top of some stages) are
    told.
    """
    for name in _OVERRULING:
        os.environ.pop(name, None)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    threadpool_limits(1)
