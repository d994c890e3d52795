"""The house keeps its shape: imports point one way, and files stay what their names say."""

import ast
import functools
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tfar", "export", "pipelines")

# What a part may import, besides itself. The parts of one line may import one another, in one
# direction (test_parts_form_no_cycle). Data stands beside: models know nothing of where x is from.
BUILDING_BLOCKS = {"layers", "heads", "sampling"}
BELOW_MODELS = {"core"} | BUILDING_BLOCKS
BELOW_TRAINING = BELOW_MODELS | {"models", "data"}
MAY_IMPORT = {
    "core": set(),
    "data": {"core"},
    **dict.fromkeys(BUILDING_BLOCKS, BELOW_MODELS),
    "models": BELOW_MODELS,
    "testing": BELOW_TRAINING,
    "convert": BELOW_TRAINING,
    "training": BELOW_TRAINING,
    # The rooms of export. The client runs beside grpcio, protobuf and NumPy alone; the server runs any SavedModel.
    "start": set(),
    "program": set(),
    "command": {"program", "start"},
    "client": {"program"},
    "server": {"client", "start"},
    "writer": BELOW_MODELS | {"models", "tfar", "client", "start"},
    "litert": BELOW_MODELS | {"models", "tfar", "writer", "start"},
    "export": {"writer", "litert", "start", "program", "command"},
    "pipelines": BELOW_TRAINING | {"training", "convert", "tfar", "client", "server", "start", "program", "command"},
}
ROOMS = {"client", "litert", "server", "writer"}
# How a command starts TensorFlow: below all that the commands call.
START = {"pipelines", "pipelines.disk_cache", "pipelines.start"}
# How the user calls a command: the standard library alone.
PROGRAM = {"pipelines.program"}
# How a command runs and ends; the rooms of export have no commands.
COMMAND = {"pipelines.command", "pipelines.record", "pipelines.run_lock"}
# What the client needs besides its own room.
OF_THE_CLIENT = {"google", "grpc", "numpy"}
# What nothing of the above may import.
OUTSIDE = ("benchmarks", "examples", "tests")
# `conditions` and `orderings` are modules of core, `typing` has names of core, that tfar/__init__.py hands on.
ALIASES = {"conditions": "core", "orderings": "core", "typing": "core"}

# Who may enter the incremental scope, or make its state: the driver, and single layers inside of it.
SCOPE_NAMES = {"Incremental", "initial_state", "state_spec"}
KNOW_THE_SCOPE = ("tfar/core/", "tfar/layers/")

# A model file is one paper; the base class of them all is none.
MAX_MODEL_LINES = 300
NOT_A_PAPER = {"autoregressive.py", "chain.py", "density.py", "parted.py", "sampled.py"}

MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60

# What of Keras and TensorFlow is not public is read here alone.
COMPAT = (Path("tfar/core/compat.py"), Path("export/server/compat.py"))
OF_NAMED_TUPLES = {"_asdict", "_fields", "_make", "_replace"}  # public, whatever they look like
PRIVATE_MODULES = ("keras.src", "tensorflow.compiler", "tensorflow.python")
# Fields of tensorflow_probability, an oracle of this test.
OF_OTHER_PACKAGES = {(name, Path("tests/layers/test_masked_dense.py")) for name in ("_create_degrees", "_create_masks")}


def python_files(*folders: str) -> list[Path]:
    """Paths relative to the root."""
    return sorted(p.relative_to(ROOT) for name in folders for p in (ROOT / name).rglob("*.py"))


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), str(path))


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(parse(path)))


def part_of(module: str) -> str | None:
    """The part of the house that a dotted name lies in; None for what is not of this repository."""
    first, *rest = module.split(".")
    if module in START:
        return "start"
    if module in PROGRAM:
        return "program"
    if module in COMMAND:
        return "command"
    if first == "export" and rest and rest[0] in ROOMS:
        return rest[0]
    if first in ("export", "pipelines", *OUTSIDE):
        return first
    if first != "tfar":
        return None
    if not rest or rest[0].startswith("__"):
        return "tfar"  # the root package: it imports every part
    return ALIASES.get(rest[0], rest[0])


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) for each import, wherever it stands."""
    package = path.parts[:-1]
    for node in nodes(path):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(name for name in (base, node.module) if name)
            # `from tfar import heads` imports a part, not the root.
            names = [f"{module}.{a.name}" if is_module(f"{module}.{a.name}") else module for a in node.names]
        else:
            continue
        for name in dict.fromkeys(names):
            yield node.lineno, name


@functools.cache
def is_module(name: str) -> bool:
    """Whether a dotted name is a file or a folder of this repository, or a name that tfar/__init__.py hands on."""
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir() or name.count(".") == 1 and name.startswith("tfar.")


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.parent.parts if path.name == "__init__.py" else path.with_suffix("").parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, part) for each import of something of this repository, wherever it stands."""
    for line, name in imported_modules(path):
        part = part_of(name)
        if part is not None:
            yield line, part


def edges() -> Iterator[tuple[Path, int, str, str]]:
    """(file, line, importing part, imported part) over the whole house, but for tfar/__init__.py."""
    for path in python_files(*PACKAGES):
        part = part_of(module_of(path))
        if part == "tfar":
            continue
        for line, imported in imports(path):
            if imported != part:
                yield path, line, part, imported


def test_imports_point_one_way():
    assert python_files("tfar"), "no file found under tfar/: this test looked at nothing"
    wrong = []
    for path, line, part, imported in edges():
        if part not in MAY_IMPORT:
            wrong.append(f"{path}:{line}: part {part!r} is unknown; give it a line in MAY_IMPORT")
        elif imported not in MAY_IMPORT[part]:
            allowed = ", ".join(sorted(MAY_IMPORT[part] - {part})) or "no other part"
            name = "the root package tfar" if imported == "tfar" else repr(imported)
            wrong.append(f"{path}:{line}: {part!r} imports {name}; it may import {allowed}")
    assert not wrong, "imports that point upwards:\n" + "\n".join(wrong)


def test_parts_form_no_cycle():
    graph: dict[str, set[str]] = {}
    where: dict[tuple[str, str], str] = {}
    for path, line, part, imported in edges():
        graph.setdefault(part, set()).add(imported)
        where.setdefault((part, imported), f"{path}:{line}")
    parts = cycle(graph) or []
    steps = [f"{where[a, b]}: {a!r} imports {b!r}" for a, b in zip(parts, parts[1:], strict=False)]
    assert not steps, "parts import one another in a circle:\n" + "\n".join(steps)


def cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """A circle of a graph, its first entry repeated at the end; None where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]  # graphlib lists what is imported before what imports it
    return None


def test_modules_form_no_cycle():
    """Neither by imports of modules nor by imports inside of functions, which would only hide it."""
    paths = python_files("export", "pipelines")
    graph = {module_of(path): {name for _, name in imported_modules(path)} for path in paths}
    assert "export.client.calls" in graph["export.client.client"]
    assert cycle(graph) is None, " imports ".join(cycle(graph))
    graph["export.client.errors"].add("export.client.client")  # planted
    assert cycle(graph)


def test_client_imports_nothing_heavy():
    wrong = []
    for path in python_files("export/client"):
        for line, name in imported_modules(path):
            first = name.partition(".")[0]
            own = part_of(name) in ("client", "program") or first in OF_THE_CLIENT | sys.stdlib_module_names
            wrong.extend([] if own else [f"{path}:{line}: {name}"])
    assert not wrong, "\n".join(wrong)


def is_handing_on(node: ast.stmt, position: int, root: bool) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return position == 0 and isinstance(node.value.value, str)
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        return root and isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__")
    names = {target.id if isinstance(target, ast.Name) else "" for target in targets}
    return names <= ({"__all__", "__version__"} if root else {"__all__"})


def test_init_files_only_hand_names_on():
    wrong = []
    for path in python_files("tfar"):
        if path.name == "__init__.py":
            root = path == Path("tfar/__init__.py")
            for position, node in enumerate(parse(path).body):
                if not is_handing_on(node, position, root):
                    wrong.append(f"{path}:{node.lineno}: {ast.unparse(node).splitlines()[0]}")
    assert not wrong, "more than a docstring, imports and __all__:\n" + "\n".join(wrong)


def test_model_files_are_short():
    lengths = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in python_files("tfar/models")
        if path.name not in NOT_A_PAPER
    }
    wrong = [f"{path}: {n} lines" for path, n in lengths.items() if n >= MAX_MODEL_LINES]
    message = f"a model file stays under {MAX_MODEL_LINES} lines; which layer is missing?\n"
    assert not wrong, message + "\n".join(wrong)


def test_private_names_of_others_stand_in_compat():
    """Private names of Keras and TensorFlow are those with an underscore that nothing here defines."""
    ours: set[str] = set()
    uses = []
    for path in python_files(*PACKAGES, "benchmarks", "examples", "tests"):
        for node in nodes(path):
            ours.update(defined(node))
            name = private_use(node)
            if name and path not in COMPAT and (name, path) not in OF_OTHER_PACKAGES:
                uses.append((name, path, node))
    wrong = [f"{path}:{node.lineno}: {ast.unparse(node)}" for name, path, node in uses if name not in ours]
    assert not wrong, "give these a function in " + " or ".join(map(str, COMPAT)) + ":\n" + "\n".join(wrong)


def defined(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.id if isinstance(node, ast.Name) else node.attr


def private_use(node: ast.AST) -> str | None:
    """The private attribute or module that a node reads; None where it is no such thing."""
    if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
        return None if node.attr in OF_NAMED_TUPLES else node.attr
    if isinstance(node, ast.Attribute) and node.attr.endswith("_lib"):
        return node.attr  # such as tf.distribute.distribute_lib
    if isinstance(node, ast.ImportFrom | ast.Import):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        return next((name for name in names if name.startswith(PRIVATE_MODULES)), None)
    return None


def test_no_class_of_ours_decides_what_exports_and_samplers_do():
    """Conditions, heads and models describe themselves; `isinstance` would forget those that users write."""
    files = [Path("tfar/core/conditions.py"), *python_files("tfar/heads", "tfar/models")]
    kinds = {node.name for path in files for node in nodes(path) if isinstance(node, ast.ClassDef)}
    kinds -= {"AutoregressiveModel", "Condition", "Density", "Head"}  # whether it is any at all may be asked
    assert {"Label", "Categorical", "Ensemble"} <= kinds
    wrong = []
    for path in python_files("export", "tfar/sampling", "tfar/core"):
        for node in nodes(path):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
                names = {
                    n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(node.args[1]) if hasattr(n, "ctx")
                }
                if names & kinds:
                    wrong.append(f"{path}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


def test_no_file_and_no_function_is_too_long():
    files, functions = {}, {}
    for path in python_files(*PACKAGES, "benchmarks"):
        lines = len((ROOT / path).read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE_LINES:
            files[str(path)] = lines
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef) and length(node) > MAX_FUNCTION_LINES:
                functions[f"{path}:{node.name}"] = length(node)
    found = {**files, **functions}
    assert not found, (
        f"above {MAX_FILE_LINES} lines, or {MAX_FUNCTION_LINES} of a function without its docstring: {found}"
    )


def length(function: ast.FunctionDef) -> int:
    """Lines of a function, of its docstring none."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function, clean=False) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def test_files_are_named_after_what_they_hold():
    files = python_files(*PACKAGES, "benchmarks", "examples")
    wrong = [str(path) for path in files if path.stem in ("utils", "helpers", "util", "helper")]
    assert not wrong, "name these files after what they hold: " + ", ".join(wrong)


def test_the_driver_alone_enters_the_scope():
    """Samplers, training, exports and assertions stand on `Stage`; layers read the scope and do not enter one."""
    found = []
    for path in python_files(*PACKAGES, "benchmarks"):
        if path.as_posix().startswith(KNOW_THE_SCOPE):
            continue
        for node in nodes(path):
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom | ast.Import) else []
            used = isinstance(node, ast.Attribute | ast.Name) and getattr(node, "attr", getattr(node, "id", None))
            if (used in SCOPE_NAMES) or any(name in SCOPE_NAMES or name.endswith("core.scope") for name in names):
                found.append(f"{path}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and node.module in ("tfar.core.scope", "tfar.core.states"):
                found.append(f"{path}:{node.lineno}")
    assert not found
    entered = [
        f"{path}:{node.lineno}"
        for path in python_files("tfar/core", "tfar/layers")
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", None) == "Incremental"
        and path.name not in ("stage.py", "scope.py", "states.py")
    ]
    assert not entered
