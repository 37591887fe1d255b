"""Where measured recordings are looked for."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def recordings() -> Path:
    """Folder with measured recordings: SALAMANDER_LAB_DATA, or `shared/data` beside the repository."""
    named = os.environ.get("SALAMANDER_LAB_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no recordings here: set SALAMANDER_LAB_DATA to their folder")
    return folder
