"""The registry is fetched once and unpacked; the archive is not kept."""

import io
import tarfile
from pathlib import Path

import pytest

from infra.servers.apicurio import APICURIO_VERSION, install_apicurio
from millrace.errors import ConfigurationError


def _maven(tmp_path: Path, members: dict[str, bytes]) -> str:
    """A program that does what Maven does with these arguments: it copies an archive."""
    archive = tmp_path / "app.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            packed.addfile(info, io.BytesIO(content))
    path = tmp_path / "mvn"
    path.write_text(
        "#!/bin/sh\n"
        'for argument in "$@"; do case "$argument" in -DoutputDirectory=*) folder="${argument#*=}";; esac; done\n'
        f'cp {archive} "$folder/"\n'
    )
    path.chmod(0o700)
    return str(path)


def test_the_archive_is_unpacked_once_and_not_kept(tmp_path: Path) -> None:
    maven = _maven(tmp_path, {"app-runner.jar": b"jar", "lib/one.jar": b"one"})
    said: list[str] = []
    folder = install_apicurio(tmp_path / "cache", maven, said.append)
    assert folder == tmp_path / "cache" / f"apicurio-registry-{APICURIO_VERSION}"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"app-runner.jar", "lib/one.jar", "complete.json"}
    assert install_apicurio(tmp_path / "cache", str(tmp_path / "no-maven"), said.append) == folder
    assert len(said) == 2


def test_an_archive_that_reaches_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    maven = _maven(tmp_path, {"../../evil.jar": b"evil"})
    with pytest.raises(tarfile.OutsideDestinationError):
        install_apicurio(tmp_path / "cache", maven)
    assert not list(tmp_path.rglob("evil.jar"))


def test_without_maven_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"install maven, or set registry\.run to false, or use --profile embedded"
    ):
        install_apicurio(tmp_path / "cache", str(tmp_path / "no-maven"))
