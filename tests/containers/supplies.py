"""What images are built from where no registry of images can be reached.

The base image is made by mmdebstrap of Debian's own packages, under the name that the Dockerfiles
give, and the packages of Python come out of a folder of wheels. Both are made once and kept in a
cache outside the checkout.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from tests.conftest import ROOT

SUITE: Final = "bookworm"
PACKAGES: Final = "usr-is-merged,python3,ca-certificates"
PERL: Final = (
    *("usrmerge", "libfile-find-rule-perl", "libnumber-compare-perl", "libtext-glob-perl"),
    *("perl", "libperl5.36", "perl-modules-5.36", "libgdbm-compat4"),
)
"""Comes before usr-is-merged makes it needless; the base of Docker's library has none of it."""
BUILD_PACKAGES: Final = f"{PACKAGES},python3-venv,gcc,libc6-dev"
"""What the larger base of the build stage has besides: a compiler."""
LEFT_OUT: Final = ("doc", "man", "locale")
EXTRAS: Final = ("preprocessing", "s3", "tracing", "inference", "training")
BUILD_TOOLS: Final = ("hatchling", "uv==0.13.9")


def cache_folder() -> Path:
    """Return the folder of all that is kept from one run to the next."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "facet" / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def base_archive(packages: str) -> Path:
    """Return the file system of a small Debian with these packages, as a tar file."""
    archive = cache_folder() / f"{SUITE}-{_key(packages.encode())}.tar"
    if not archive.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            made = Path(folder, "base.tar")
            options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
            lean = f'--customize-hook=chroot "$1" dpkg --purge {" ".join(PERL)}'
            words = ("--variant=minbase", f"--include={packages}", lean, *options)
            _run("mmdebstrap", *words, SUITE, made)
            made.rename(archive)
    return archive


def wheelhouse() -> Path:
    """Return a folder with a wheel of everything that the images install."""
    constraints, project = ROOT / "constraints.txt", ROOT / "pyproject.toml"
    key = _key(constraints.read_bytes(), project.read_bytes())
    folder = cache_folder() / f"wheels-{key}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            _fill(Path(scratch), constraints, project)
            (Path(scratch) / "wheels").rename(folder)
    return folder


def _fill(scratch: Path, constraints: Path, project: Path) -> None:
    listed = scratch / "requirements.txt"
    uv = Path(sys.executable).with_name("uv")
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    compiling = (str(uv), "pip", "compile", "--quiet", "--python-version", "3.11")
    plain = ("--no-header", "--no-annotate", "--constraint", str(constraints))
    _run(*compiling, *plain, *extras, project, "-o", listed)
    pip: tuple[str | Path, ...] = (
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--dest",
        scratch / "wheels",
    )
    wheels = (*pip, "--only-binary=:all:")
    # The list is complete; pip would refuse what uv knows to be harmless.
    _run(*wheels, "--no-deps", "--ignore-requires-python", "--requirement", listed)
    _run(*wheels, "--constraint", constraints, *BUILD_TOOLS)


def build_options(folder: Path) -> list[str]:
    """Return options of `podman build` that let it do without a network; writes into a folder."""
    pip, uv = folder / "pip.conf", folder / "uv.toml"
    pip.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    uv.write_text('no-index = true\nfind-links = ["/wheels"]\n')
    return [
        "--network=none",
        f"--volume={wheelhouse()}:/wheels:ro",
        f"--volume={pip}:/etc/pip.conf:ro",
        f"--volume={uv}:/etc/uv/uv.toml:ro",
    ]


def facet_version() -> str:
    """Return the version of Facet."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _key(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stderr[-4000:]}")
