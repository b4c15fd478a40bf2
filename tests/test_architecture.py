"""A layer imports only those below it; the rules that no linter knows."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "liveact_cli"

# From the top; packages in one row are siblings that never import each other.
LAYERS = (
    ("cli",),
    ("diagnose",),
    ("studio",),
    ("engine",),
    ("wan", "mini"),
    ("runtime",),
    ("model",),
    ("config",),
    ("script", "media", "weights"),
    ("core",),
)
BESIDE = {"training": "engine"}
"""Packages that nothing imports, and the highest layer that each may use."""
DEPTH = {name: depth for depth, row in enumerate(LAYERS) for name in row}


def imports_of(file, runtime_only=False):
    """Yield (line, module) for every import of a file, also those inside functions."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = set()
    if runtime_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                skipped |= {id(inner) for child in node.body for inner in ast.walk(child)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            yield node.lineno, node.module


def files_of(*packages):
    return [file for name in packages for file in sorted((PACKAGE / name).rglob("*.py"))]


def package_of(file):
    return file.relative_to(PACKAGE).parts[0]


def may_import(importer, imported):
    if importer == imported:
        return True
    if imported in BESIDE:
        return False
    if importer in BESIDE:
        return DEPTH[imported] >= DEPTH[BESIDE[importer]]
    return DEPTH[imported] > DEPTH[importer]


def test_every_package_has_a_layer():
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert packages == set(DEPTH) | set(BESIDE)


def test_layers_import_only_downwards():
    wrong = []
    for file in files_of(*DEPTH, *BESIDE):
        for line, module in imports_of(file):
            root, _, rest = module.partition(".")
            if root != "liveact_cli" or not rest:
                continue
            imported = rest.split(".")[0]
            if not may_import(package_of(file), imported):
                wrong.append(f"{file.relative_to(PACKAGE)}:{line} imports {imported}")
    assert wrong == []


def test_core_needs_the_standard_library_only():
    wrong = [
        f"{file.name}:{line} imports {module}"
        for file in files_of("core")
        for line, module in imports_of(file, runtime_only=True)
        if module.split(".")[0] not in sys.stdlib_module_names | {"liveact_cli"}
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ["config", "script", "media", "weights"])
def test_no_torch_where_it_would_only_cost_time(package):
    wrong = [
        f"{file.relative_to(PACKAGE)}:{line}"
        for file in files_of(package)
        for line, module in imports_of(file, runtime_only=True)
        if module.split(".")[0] in {"torch", "torchvision", "transformers", "diffusers"}
    ]
    assert wrong == []


def test_the_model_knows_no_machine():
    """Devices, processes, environment and precision contexts are applied from outside."""
    banned = ("cuda", "distributed", "environ", "autocast", "print(")
    wrong = [
        f"{file.name}: {word}"
        for file in files_of("model")
        for word in banned
        if word in file.read_text(encoding="utf-8")
    ]
    assert wrong == []


def test_the_memory_policy_is_the_only_source_of_chunk_sizes():
    """6, 8 and 14 follow from four integers; nobody writes them down again."""
    wrong = []
    loop = [PACKAGE / "engine" / name for name in ("decode.py", "conditioning.py", "verify.py")]
    for file in (*files_of("model"), *loop):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in (14, 21, 32, 1170):
                wrong.append(f"{file.relative_to(PACKAGE)}:{node.lineno} writes {node.value}")
    allowed = ("model/config.py",)  # the released model's own sizes
    assert [line for line in wrong if not line.startswith(allowed)] == []
