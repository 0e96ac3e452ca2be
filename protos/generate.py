"""Regenerates the Python stubs beside their .proto files: `make protos`."""

import shutil
import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

PROTOS = Path(__file__).resolve().parent


def generate(out: Path) -> None:
    """Write `*_pb2.py`, `*_pb2.pyi` and `*_pb2_grpc.py` for every facet proto under `out`."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "facet").rglob("*.proto"))
    well_known = resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc",
        f"-I{PROTOS}",
        f"-I{well_known}",
        f"--python_out={out}",
        f"--pyi_out={out}",
        f"--grpc_python_out={out}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")
    _drop_stubs_without_a_service(out)


def _drop_stubs_without_a_service(out: Path) -> None:
    for stub in (out / "facet").rglob("*_pb2_grpc.py"):
        proto = PROTOS / stub.relative_to(out).with_name(
            stub.name.replace("_pb2_grpc.py", ".proto")
        )
        if "\nservice " not in proto.read_text(encoding="utf-8"):
            stub.unlink()


if __name__ == "__main__":
    for stale in (PROTOS / "facet").rglob("*_pb2*"):
        stale.unlink()
    for cache in (PROTOS / "facet").rglob("__pycache__"):
        shutil.rmtree(cache)
    generate(PROTOS)
