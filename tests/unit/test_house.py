"""The house's rules that a reader relies on, held over the import graph and the text of every module."""

import ast
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "python"
CLIENT_OLDEST_PYTHON = (3, 9)
# The modules of the client that may import what an extra names; all others have the standard library alone.
CLIENT_EXTRAS = {
    "forebay_client.celery": "celery",
    "forebay_client.django": "django",
    "forebay_client.wire": "zstd",
}
MODULE_MAX_LINES = 400
# Reading the left, a module never meets the right, however many modules lie between them.
LAYERS = {
    "forebay_client": ["forebay", "ingest", "tenants"],
    "tenants": ["ingest", "forebay_client"],
    "ingest.dataplane": [
        "django",
        "rest_framework",
        "celery",
        "ingest.api",
        "ingest.protocols",
        "ingest.models",
        "forebay_client",
    ],
    "ingest.protocols": [
        "django",
        "rest_framework",
        "celery",
        "redis",
        "socket",
        "ingest.api",
        "ingest.dataplane.pipeline",
    ],
    "ingest.dataplane.producer": ["ingest.dataplane.pipeline"],
    "ingest.dataplane.faults": ["ingest.dataplane.producer", "ingest.dataplane.journal", "ingest.dataplane.routing"],
    "ingest.dataplane.errors": ["ingest.dataplane.producer", "ingest.dataplane.journal", "ingest.dataplane.routing"],
    "ingest.dataplane.metrics": ["ingest.dataplane.producer", "ingest.dataplane.journal", "ingest.dataplane.routing"],
}


@cache
def shipped() -> dict[str, Path]:
    """Every module of the product under its import name."""
    found = {}
    packages = ((ROOT / "platform", "forebay"), (ROOT, "ingest"), (ROOT, "tenants"), (CLIENT / "src", "forebay_client"))
    for base, folder in packages:
        for path in sorted((base / folder).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def of_client() -> dict[str, Path]:
    """The modules of the client's package, which are shipped on their own."""
    return {name: path for name, path in shipped().items() if is_under(name, "forebay_client")}


def all_files() -> list[Path]:
    folders = (ROOT / "tests", ROOT / "bench", CLIENT / "tests")
    helpers = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [path for path in [*shipped().values(), *helpers] if "migrations" not in path.parts]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(module: ast.AST) -> Iterator[str]:
    """What is imported anywhere in it; of `from a import b` both a and a.b, since b may be a module."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield str(node.module)


@cache
def graph() -> dict[str, frozenset[str]]:
    """Import name to what it imports: ours under their own names, the rest as written."""
    edges = {name: set(imports(tree(path))) - {name} for name, path in shipped().items()}
    # `from forebay.local import kafka` reads the module, not the package around it, which holds a docstring.
    packages = {name for name, path in shipped().items() if path.name == "__init__.py" and not edges[name]}
    return {name: frozenset(targets - packages) for name, targets in edges.items()}


def ways_to(start: str, forbidden: str) -> list[str]:
    """The chain of imports from `start` to anything under `forbidden`; empty when there is none."""
    pending, seen = [[start]], {start}
    while pending:
        way = pending.pop()
        for target in sorted(graph().get(way[-1], ())):
            if is_under(target, forbidden):
                return [*way, target]
            if target not in seen:
                seen.add(target)
                pending.append([*way, target])
    return []


def is_under(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_one_way(layer: str) -> None:
    inside = [name for name in shipped() if is_under(name, layer)]

    wrong = [" -> ".join(way) for name in inside for goal in LAYERS[layer] if (way := ways_to(name, goal))]

    assert wrong == []


def test_no_modules_import_each_other() -> None:
    ours = {name: targets & shipped().keys() for name, targets in graph().items()}

    TopologicalSorter(ours).prepare()  # raises CycleError, which names the cycle


def test_the_standard_library_keeps_its_platform() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", "import platform; print(platform.__file__)"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert not (ROOT / "platform" / "__init__.py").exists()
    assert Path(printed.stdout.strip()) == Path(platform.__file__)
    assert not Path(platform.__file__).is_relative_to(ROOT / "platform")


def test_no_module_is_too_long_to_read_in_one_go() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in all_files()}

    assert {path: lines for path, lines in lengths.items() if lines > MODULE_MAX_LINES} == {}


def test_every_module_opens_with_what_it_is() -> None:
    silent = [path for path in all_files() if path.read_text().strip() and not ast.get_docstring(tree(path))]

    assert silent == []


def test_no_import_hides_in_a_function() -> None:
    functions = (
        (path, node)
        for path in all_files()
        for node in ast.walk(tree(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    )

    assert [(str(path), node.name) for path, node in functions if any(imports(node))] == []


def test_a_package_holds_no_code_of_its_own() -> None:
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign)

    wordy = [
        path
        for path in all_files()
        if path.name == "__init__.py" and not all(isinstance(node, allowed) for node in tree(path).body)
    ]

    assert wordy == []


def test_the_client_imports_what_its_package_declares() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    extras = {
        extra: {re.split(r"[<>=~!\[ ;]", needed)[0] for needed in needs}
        for extra, needs in project["optional-dependencies"].items()
    }
    allowed = {name: extras[extra] for name, extra in CLIENT_EXTRAS.items()}
    foreign = {
        name: {one.partition(".")[0] for one in graph()[name]} - sys.stdlib_module_names - {"forebay_client"}
        for name in of_client()
    }

    assert project["dependencies"] == []
    assert {name: found for name, found in foreign.items() if not found <= allowed.get(name, set())} == {}


def test_the_client_runs_with_the_standard_library_alone() -> None:
    needy = {"forebay_client.celery", "forebay_client.django"}
    names = sorted(of_client().keys() - needy - {"forebay_client.__main__"})
    program = f"import sys; sys.path.insert(0, {str(CLIENT / 'src')!r}); import {', '.join(names)}"

    # -S: no site-packages, -I: nothing of the environment.
    done = subprocess.run([sys.executable, "-S", "-I", "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_the_client_is_written_for_its_oldest_python() -> None:
    files = [*of_client().values(), *(CLIENT / "tests").rglob("*.py")]

    for path in files:
        ast.parse(path.read_text(), str(path), feature_version=CLIENT_OLDEST_PYTHON)  # raises SyntaxError
    eager = [path for path in files if "__future__.annotations" not in imports(tree(path))]

    assert [path for path in eager if has_unions(tree(path))] == []


def has_unions(module: ast.Module) -> bool:
    """Whether an annotation is written `A | B`, which Python 3.9 cannot evaluate."""
    annotations = [
        annotation
        for node in ast.walk(module)
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if annotation is not None
    ]
    return any(isinstance(part, ast.BitOr) for annotation in annotations for part in ast.walk(annotation))


def test_every_setting_is_read_somewhere() -> None:
    settings = shipped()["forebay.settings"]
    names = [node for node in ast.walk(tree(settings)) if isinstance(node, ast.Name) and node.id.startswith("FOREBAY_")]
    read_by_others = "\n".join(path.read_text() for path in shipped().values() if path != settings)
    read_by_itself = {node.id for node in names if isinstance(node.ctx, ast.Load)}

    assert [node.id for node in names if node.id not in read_by_others and node.id not in read_by_itself] == []
