"""Makes /opt/facet of an image smaller by what no process of Facet ever runs; install.sh calls it.

OpenCV is most of the largest image. Its wheel links FFmpeg, for reading videos, and OpenBLAS, for
solving equations, and so on; Facet decodes, turns and resizes pictures and calls none of that, but
the dynamic linker wants all of it. So each of those libraries is replaced by a hollow one of the
same name, whose functions, as far as they are linked, end the process with a message. Then goes
whatever is linked by nobody any more. Only what was delivered unstripped is stripped: `strip`
breaks the alignment of libraries that auditwheel has rewritten.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

OPENCV: Final = "opencv_python_headless.libs"
HOLLOW: Final = (
    *(("cv2/cv2*.so", f"{OPENCV}/libav{name}-*") for name in ("codec", "format", "util")),
    *(("cv2/cv2*.so", f"{OPENCV}/{name}-*") for name in ("libswscale", "libopenblas*")),
    # Facet takes no AVIF; the formats that it takes are told apart before OpenCV sees them.
    (f"{OPENCV}/libavif-*", f"{OPENCV}/libaom-*"),
    # Pillow's pictures of the screen.
    ("PIL/_imaging.*.so", "pillow.libs/libxcb-*"),
)
"""What links a library that is never called, and that library."""
UNSTRIPPED: Final = ("aiohttp", "cryptography", "frozenlist", "multidict", "propcache", "uvloop")
WITH_TESTS: Final = ("keras", "matplotlib", "numpy", "psutil", "scipy", "sklearn")
"""A fifth of numpy, and more of the others, are their own tests."""
FOR_COMPILERS: Final = ("*.pyi", "*.pyx", "*.pxd", "*.a")
PARTS: Final = ("_avif", "_imagingft", "_imagingcms", "_imagingtk")
"""Extensions of Pillow for AVIF, fonts, colour management and Tk; Facet has no use for them."""


def hollow_out(packages: Path) -> None:
    """Replace what is linked and never called by libraries that say so."""
    for users, libraries in HOLLOW:
        for user in packages.glob(users):
            wanted = {name for name, _ in _symbols(user, "--undefined-only")}
            for library in packages.glob(libraries):
                exported = _symbols(library, "--defined-only")
                _write_hollow(library, [pair for pair in exported if pair[0] in wanted])


def _symbols(library: Path, which: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the version ("" without one) of each dynamic symbol."""
    for line in _output("nm", "--dynamic", which, library).splitlines():
        name, _, version = line.split()[-1].partition("@")
        yield name, version.lstrip("@")


def _write_hollow(library: Path, exported: list[tuple[str, str]]) -> None:
    source, script = library.with_suffix(".c"), library.with_suffix(".map")
    functions = "\n".join(f'void {name}(void) {{ missing("{name}"); }}' for name, _ in exported)
    source.write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n"
        "static void missing(const char *name) {\n"
        '  fprintf(stderr, "%s is not in this image: see docker/trim.py\\n", name);\n'
        f"  abort();\n}}\n{functions}\n"
    )
    versions = {version for _, version in exported if version}
    script.write_text("".join(f"{version} {{ global: *; }};\n" for version in versions))
    library.unlink()
    linked = ("-shared", "-fPIC", "-fno-builtin", "-Os", "-s", f"-Wl,-soname,{library.name}")
    scripted = (f"-Wl,--version-script={script}",) if versions else ()
    _output("cc", *linked, *scripted, "-o", library, source)
    source.unlink()
    script.unlink()


def drop_unlinked(packages: Path, folder: Path) -> None:
    """Remove libraries of a wheel's folder that its extensions and each other no longer link."""
    bundled = {path.name: path for path in folder.iterdir()}
    reached: set[Path] = set()
    waiting = [path for path in packages.rglob("*.so*") if path.parent != folder]
    while waiting:
        for name in _needed(waiting.pop()):
            if name in bundled and bundled[name] not in reached:
                reached.add(bundled[name])
                waiting.append(bundled[name])
    for path in set(bundled.values()) - reached:
        path.unlink()


def _needed(library: Path) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.*)\]", _output("readelf", "--dynamic", library))


def _output(*command: str | Path) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(packages: Path) -> None:
    """Trim a site-packages folder."""
    for name in WITH_TESTS:
        for folder in [*packages.glob(f"{name}/**/tests")]:
            shutil.rmtree(folder, ignore_errors=True)
    # Its f2py stays: `from numpy import *`, which is how scipy begins, asks for it.
    shutil.rmtree(packages / "numpy" / "distutils", ignore_errors=True)
    for pattern in FOR_COMPILERS:
        for path in [*packages.rglob(pattern)]:
            path.unlink()
    for name in PARTS:
        for path in packages.glob(f"PIL/{name}.*.so"):
            path.unlink()
    for name in UNSTRIPPED:
        for path in packages.glob(f"{name}/**/*.so"):
            _output("strip", "--strip-unneeded", path)
    hollow_out(packages)
    for name in (OPENCV, "pillow.libs"):
        if (packages / name).is_dir():
            drop_unlinked(packages, packages / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
