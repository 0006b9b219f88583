from pathlib import Path

import pytest

from inference.minilm.artefact import Artefact, prepare


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the converted model, shared by the test processes of one run."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if base.name.startswith("popen-") else base) / "models"


@pytest.fixture(scope="session")
def artefact(model_cache: Path) -> Artefact:
    return prepare(model_cache)
