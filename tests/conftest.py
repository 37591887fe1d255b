"""Shared fixtures: one thread per process, and the folder of recorded data where there is one."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of recorded data: SALAMANDER_LAB_DATA, or `shared/data` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SALAMANDER_LAB_DATA", beside))
    if not folder.is_dir():
        pytest.skip("no recorded data: set SALAMANDER_LAB_DATA to the folder that holds silverbox/, salamander/ ...")
    return folder
