"""A process computes on the threads that it is told to, whatever its environment says and whatever has been loaded before."""

import json
import os
import subprocess
import sys

import pytest

COUNT = """
import json
{before}
from steps.core.threads import pin_threads
pin_threads()
import numpy, scipy.linalg, sklearn.cluster, torch
from threadpoolctl import threadpool_info
threads = [each["num_threads"] for each in threadpool_info()]
torch.set_num_threads(2)
torch.ones(10).sum()
print(json.dumps([threads, torch.get_num_threads()]))
"""


@pytest.mark.parametrize("before", ["", "import numpy, scipy.linalg, torch"], ids=["nothing loaded", "libraries loaded"])
@pytest.mark.parametrize("environment", [{}, {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3", "MKL_NUM_THREADS": "3"}])
def test_all_libraries_have_one_thread_and_torch_what_it_is_told(before, environment):
    plain = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", COUNT.format(before=before)]
    found = subprocess.run(command, env=plain | environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    threads, of_torch = json.loads(found)
    assert len(threads) >= 3  # numpy's algebra, scipy's, OpenMP
    assert set(threads) == {1}
    assert of_torch == 2


def test_the_environment_cannot_take_threads_away():
    text = (
        "from steps.core.threads import pin_threads; pin_threads()\n"
        "import ctypes, torch; from threadpoolctl import threadpool_info\n"
        "openmp = [ctypes.CDLL(each['filepath']) for each in threadpool_info() if each['user_api'] == 'openmp']; "
        "print([(each.omp_get_thread_limit() > 1, each.omp_get_dynamic()) for each in openmp])"
    )
    limits = {"OMP_THREAD_LIMIT": "1", "OMP_DYNAMIC": "true", "MKL_DYNAMIC": "true"}
    command = [sys.executable, "-c", text]
    found = subprocess.run(command, env=os.environ | limits, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert found == "[(True, 0)]\n"
