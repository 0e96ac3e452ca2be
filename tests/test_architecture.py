"""What may depend on what."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("facet", "gateway", "services")
SERVICES = ("aggregation", "inference", "preprocessing", "scheduler", "training")
HEAVY = frozenset({"tensorflow", "keras", "jax", "ai_edge_litert", "sklearn"})


@cache
def modules() -> dict[str, Path]:
    """All modules that are written by hand, by name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str) -> frozenset[str]:
    """The modules that a module imports anywhere, but for those that only type checkers see."""
    tree = ast.parse(modules()[module].read_text(encoding="utf-8"))
    return frozenset(_imports(tree))


def _imports(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                for other in child.orelse:
                    yield from _imports(other)
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(base), names=names):
                for alias in names:
                    name = f"{base}.{alias.name}"
                    yield name if name in modules() or _is_stub(name) else base
            case _:
                yield from _imports(child)


def _is_stub(name: str) -> bool:
    """The name is that of a generated module, or of the package of some."""
    parts = name.split(".")
    return parts[0] == "facet" and "v1" in parts


def within(name: str, *packages: str) -> bool:
    """The module is one of these packages or lies in one."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def first_party(module: str) -> set[str]:
    """What a module imports of ours, stubs excepted."""
    return {
        name
        for name in imports(module)
        if within(name, *PACKAGES, "tests", "benchmarks", "protos") and not _is_stub(name)
    }


def violations(package: str, *allowed: str) -> list[str]:
    """Imports of modules of a package that lead elsewhere than it may."""
    return [
        f"{module} imports {name}"
        for module in sorted(modules())
        if within(module, package)
        for name in sorted(first_party(module))
        if not within(name, *allowed)
    ]


def test_the_walk_finds_what_it_should() -> None:
    assert "services.common.errors" in imports("services.common.statuses")
    assert "facet.scheduler.v1.scheduler_pb2" in imports("services.scheduler.servicer")
    assert {"services.inference.engines.tensorflow", "gateway.pipeline"} <= modules().keys()
    assert "tensorflow" in imports("services.inference.engines.tensorflow")
    assert "jax" in imports("services.inference.engines.jax")


@pytest.mark.parametrize("service", SERVICES)
def test_services_know_only_what_all_share(service: str) -> None:
    package = f"services.{service}"
    assert violations(package, package, "services.common") == []


def test_there_is_no_service_that_is_not_looked_at() -> None:
    folders = {path.parent.name for path in (ROOT / "services").glob("*/__init__.py")}
    assert folders == {*SERVICES, "common"}


def test_what_all_share_knows_no_service() -> None:
    assert violations("services.common", "services.common") == []


def test_the_gateway_knows_no_service() -> None:
    assert violations("gateway", "gateway", "services.common") == []


def test_only_inference_and_training_import_tensorflow_keras_and_jax() -> None:
    assert [
        module
        for module in modules()
        for name in imports(module)
        if within(name, "tensorflow", "keras", "tf_keras", "jax", "jaxlib")
        and not within(module, "services.inference", "services.training")
    ] == []


def test_the_package_for_people_is_used_by_nobody_else() -> None:
    for package in ("services", "gateway"):
        for module in modules():
            if within(module, package):
                assert not {name for name in first_party(module) if within(name, "facet")}


def test_there_are_no_cycles() -> None:
    graph = {module: sorted(first_party(module) & modules().keys()) for module in modules()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        if module in path:
            pytest.fail(" imports ".join((*path[path.index(module) :], module)))
        if module not in done:
            for name in graph[module]:
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_every_service_can_be_run() -> None:
    served = [ROOT / "services" / name for name in SERVICES if name != "training"]
    for folder in (*served, ROOT / "gateway"):
        assert (folder / "__main__.py").is_file(), folder


@pytest.mark.parametrize(
    "module",
    [
        "gateway.__main__",
        "services.aggregation.__main__",
        "services.inference.__main__",
        "services.preprocessing.__main__",
        "services.scheduler.__main__",
        "services.training.distributed.worker",
    ],
)
def test_services_start_without_anything_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*{set(HEAVY)!r} & sys.modules.keys())"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []


def test_the_stubs_are_those_of_the_protos(tmp_path: Path) -> None:
    # In a process of its own: protoc crashes in one that has loaded TensorFlow.
    program = "import pathlib, sys, protos.generate as p; p.generate(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True)
    fresh = {path.relative_to(tmp_path): path for path in tmp_path.rglob("*") if path.is_file()}
    protos = ROOT / "protos"
    kept = {
        path.relative_to(protos)
        for path in (protos / "facet").rglob("*_pb2*")
        if path.suffix in (".py", ".pyi")
    }
    assert kept == fresh.keys(), "run `make protos`"
    for name, path in fresh.items():
        assert (protos / name).read_bytes() == path.read_bytes(), f"{name}: run `make protos`"
