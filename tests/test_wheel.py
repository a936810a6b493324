"""The wheel has everything that the checkout has, under one name."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from vlatency.experiments.shared.files import ROOT

pytestmark = pytest.mark.slow

SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS = [ROOT / folder for folder in SETUPTOOLS["package-dir"].values()]
PIP = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
OFFLINE = ("--no-deps", "--no-index")


def inside(path: Path) -> str:
    """The name of a file in the wheel."""
    return f"vlatency/{path.relative_to(ROOT).as_posix()}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves files behind that a later build would take up."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS:
        shutil.copytree(folder, source / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copyfile(ROOT / name, source / name)
    subprocess.run([*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", out, source], check=True)
    (path,) = out.iterdir()
    return path


def test_every_folder_with_code_is_a_package() -> None:
    modules = [path for folder in FOLDERS for path in folder.rglob("*.py")]
    folders = {inside(path.parent).replace("/", ".") for path in modules}
    assert sorted(folders) == sorted(SETUPTOOLS["packages"])


def test_every_file_is_in_the_wheel_and_all_have_one_name(wheel: Path) -> None:
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    ours = {path for folder in FOLDERS for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert {inside(path) for path in ours} == found


def test_the_packages_import_beside_folders_of_the_same_names(wheel: Path, tmp_path: Path) -> None:
    site, mine = tmp_path / "site", tmp_path / "mine"
    subprocess.run([*PIP, "install", *OFFLINE, "--target", site, wheel], check=True)
    for name in ("envs", "experiments"):
        (mine / name).mkdir(parents=True)
        (mine / name / "__init__.py").touch()
    code = """
import envs, experiments, vlatency.envs, vlatency.experiments, gymnasium
print(envs.__file__, experiments.__file__, vlatency.envs.__file__, vlatency.experiments.__file__, sep="\\n")
assert "vlatency/Pick-v0" in gymnasium.registry
"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=mine, env=os.environ | {"PYTHONPATH": str(site)}, check=True, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    names = ["mine/envs", "mine/experiments", "site/vlatency/envs", "site/vlatency/experiments"]
    assert told.stdout.split() == [str(tmp_path / name / "__init__.py") for name in names]
