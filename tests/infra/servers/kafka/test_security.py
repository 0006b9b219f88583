"""A password is drawn once for each user, and a name leads nowhere else."""

from pathlib import Path

import pytest

from infra.servers.kafka import Secrets
from millrace.errors import ConfigurationError


def test_a_password_is_drawn_once_and_its_owner_s_alone(tmp_path: Path) -> None:
    secrets = Secrets(tmp_path / "secrets")
    password = secrets.password("corpus-worker")
    assert password == Secrets(tmp_path / "secrets").password("corpus-worker") != secrets.password("app")
    assert secrets.path("app").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("user", ["../app", "/app", "a/b", "..", "", "corpus_worker", "a\n"])
def test_a_name_that_is_none_makes_no_file(tmp_path: Path, user: str) -> None:
    with pytest.raises(ConfigurationError, match="is no user of Kafka's"):
        Secrets(tmp_path / "secrets").credentials(user)
    assert not list(tmp_path.iterdir())
