"""The project as it is installed: wheel and editable, each in an environment of its own.

Rules: a copy of the source is built and installed, so the checkout is never written to; nothing is downloaded, for the
fresh environments see the packages of the running one by a `.pth` file; commands run from another folder.

Beware: the `.pth` shows the running environment's ctrlserver metadata too, but not its code (a `.pth` in a folder named
by a `.pth` is not read), so pip is told to ignore what is installed.
"""

from __future__ import annotations

import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from ctrlserver import __version__
from ctrlserver.http.page.files import own_files
from tests.integration.conftest import starting
from tests.packages import PIP, PROJECT, TOP, UNPACKAGED, output_of

pytestmark = pytest.mark.integration


@pytest.fixture(params=["wheel", "editable"], scope="module")
def programs(
    request: pytest.FixtureRequest, source: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of programs of a fresh environment, with the project installed in the way that is named."""
    environment = tmp_path_factory.mktemp(f"{request.param}-environment")
    output_of(sys.executable, "-m", "venv", "--without-pip", environment, cwd=environment)
    programs = environment / "bin"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(output_of(programs / "python", "-c", where, cwd=environment).strip())
    shared = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (packages / "shared.pth").write_text("".join(f"{folder}\n" for folder in shared))
    what: Sequence[str | Path] = [wheel] if request.param == "wheel" else ["--editable", source]
    install = ("install", "--ignore-installed", "--no-deps", "--no-build-isolation", "--no-index")
    output_of(*PIP, "--python", programs / "python", *install, *what, cwd=environment)
    (programs / "twistd").write_text(
        f"#!{programs / 'python'}\nimport sys\nfrom twisted.scripts.twistd import run\nsys.exit(run())\n"
    )
    (programs / "twistd").chmod(0o755)
    return programs


def test_the_wheel_holds_the_plugin_the_schema_the_template_and_the_type_marker(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names >= {"twisted/plugins/ctrlserver_plugin.py", "ctrlserver/py.typed"}
    assert "ctrlserver/load/show/chart_page.html" in names
    assert [name for name in names if name.startswith("ctrlserver/load/") and name.endswith(".json")]
    assert names >= {f"ctrlserver/http/page/static/{name}" for name in own_files()}


def test_the_sdist_holds_the_tests_the_pages_the_config_and_what_make_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = [PROJECT / name for name in (*TOP, "constraints.txt")]
    for folder in ("tests", "docs", "etc", "benchmarks"):
        wanted += [path for path in (PROJECT / folder).rglob("*.*") if not {*path.parts} & {*UNPACKAGED}]
    assert set() == {path.relative_to(PROJECT).as_posix() for path in wanted} - names


def test_the_wheel_holds_the_config_that_explains_every_key(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).read("ctrlserver/config/example.toml")
    assert (PROJECT / "etc" / "ctrlserver.toml").read_bytes() == packed


def test_the_wheel_has_no_init_file_in_twisteds_folders(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert [] == [name for name in names if name in ("twisted/__init__.py", "twisted/plugins/__init__.py")]
    assert [] == [*(PROJECT / "twisted").rglob("__init__.py")]


def test_the_wheel_holds_every_module_of_the_package(wheel: Path) -> None:
    modules = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "ctrlserver").rglob("*.py")}
    assert modules == {
        name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("ctrlserver/") and name.endswith(".py")
    }


def test_twistd_knows_ctrlserver_once_installed(programs: Path, tmp_path: Path) -> None:
    listed = output_of(programs / "twistd", "--help", cwd=tmp_path)
    assert [line for line in listed.splitlines() if line.split()[:1] == ["ctrlserver"]], listed


def test_an_installed_daemon_checks_its_configuration(programs: Path, tmp_path: Path) -> None:
    assert "good" in output_of(programs / "twistd", "-n", "--pidfile=", "ctrlserver", "--check", cwd=tmp_path)


def test_ctrlload_says_its_version_once_installed(programs: Path, tmp_path: Path) -> None:
    assert __version__ in output_of(programs / "ctrlload", "--version", cwd=tmp_path)
    assert __version__ in output_of(programs / "python", "-m", "ctrlserver.load", "--version", cwd=tmp_path)


def test_ctrlstat_says_its_version_once_installed(programs: Path, tmp_path: Path) -> None:
    for words in ([programs / "ctrlstat"], [programs / "python", "-m", "ctrlserver.overview"]):
        assert f"ctrlstat {__version__}\n" == output_of(*words, "--version", cwd=tmp_path)


def test_the_daemon_is_a_program_of_its_own_once_installed(programs: Path, tmp_path: Path) -> None:
    for words in ([programs / "ctrlserver"], [programs / "python", "-m", "ctrlserver"]):
        assert f"ctrlserver {__version__}\n" == output_of(*words, "--version", cwd=tmp_path)
        assert "good" in output_of(*words, "--check", cwd=tmp_path)
    text = (PROJECT / "etc" / "ctrlserver.toml").read_text()
    assert text == output_of(programs / "ctrlserver", "--example-config", cwd=tmp_path)


def test_an_installed_daemon_starts_and_answers(programs: Path, tmp_path: Path) -> None:
    with starting(tmp_path) as start:
        assert "OK pong\r\n" == start(program=[programs / "ctrlserver"]).ask("ping")
    assert [] == list(tmp_path.iterdir())


def test_the_code_that_runs_is_the_installed_one(programs: Path, source: Path, tmp_path: Path) -> None:
    place = output_of(programs / "python", "-c", "import ctrlserver; print(ctrlserver.__file__)", cwd=tmp_path).strip()
    assert any(Path(place).is_relative_to(folder) for folder in (programs.parent, source)), place
