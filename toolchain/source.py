"""What a class or function takes, read from its source without importing it, so that a wrong key need not wait for
PyTorch. Every answer may be None, for what cannot be read this way; the import that follows checks all of it again.
"""

import ast
import importlib.machinery
import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

_Definition = ast.ClassDef | ast.FunctionDef


def modules(package: str) -> list[str]:
    """The modules of a package of `mnet`, by their full names."""
    file = _file(package)
    return [f"{package}.{path.stem}" for path in sorted(file.parent.glob("[!_]*.py"))] if file else []


def module_value(module: str, name: str) -> Any:
    """The literal that a module assigns to `name` at its top, e.g. a registry of names; None if it is no literal."""
    tree = _tree(module)
    return None if tree is None else _assigned(tree.body, name)


def class_value(path: str, name: str) -> Any:
    """The same for an attribute of the class `package.module:Class`, its own or inherited."""
    for _, node in _lineage(path):
        if (value := _assigned(node.body, name)) is not None:
            return value
    return None


def class_reference(path: str, name: str) -> str | None:
    """`package.module:Name` of the class or function that a class attribute refers to by its name."""
    for module, node in _lineage(path):
        for line in node.body:
            if _assigns(line, name) and isinstance(line.value, ast.Name):  # type: ignore[attr-defined]
                return f"{module}:{line.value.id}"  # type: ignore[attr-defined]
    return None


def accepted_keys(path: str) -> list[str] | None:
    """The keys that `package.module:Name` takes: of its `config_class`, its fields, or its arguments."""
    found = _find(path)
    if found is None:
        return None
    module, node = found
    if isinstance(node, ast.FunctionDef):
        return _arguments(node)
    if config := class_reference(path, "config_class"):
        return accepted_keys(config)
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    if _is_dataclass(node) or "Strict" in bases:
        inherited = [accepted_keys(f"{module}:{base}") for base in bases if base != "Strict"]
        return (
            None
            if None in inherited
            else [*(key for keys in inherited for key in keys or ()), *_fields(node)]
        )
    for line in node.body:
        if isinstance(line, ast.FunctionDef) and line.name == "__init__":
            return _arguments(line)
    return accepted_keys(f"{module}:{bases[0]}") if len(bases) == len(node.bases) == 1 else None


def _lineage(path: str) -> list[tuple[str, ast.ClassDef]]:
    """The class and its first bases, as far as they can be read."""
    lineage: list[tuple[str, ast.ClassDef]] = []
    found = _find(path)
    while found is not None:
        module, node = found
        if not isinstance(node, ast.ClassDef):
            break
        lineage.append((module, node))
        base = node.bases[0] if node.bases else None
        base = base.value if isinstance(base, ast.Subscript) else base
        found = _find(f"{module}:{base.id}") if isinstance(base, ast.Name) else None
    return lineage


def _find(path: str) -> tuple[str, _Definition] | None:
    """The module and the definition of `package.module:Name`, followed through `from … import Name`."""
    module, _, name = path.partition(":")
    tree = _tree(module)
    for node in tree.body if tree else ():
        if isinstance(node, _Definition) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return _find(f"{node.module}:{alias.name}")
    return None


@cache
def _tree(module: str) -> ast.Module | None:
    try:
        file = _file(module)
        return ast.parse(file.read_bytes()) if file else None
    except (OSError, SyntaxError, ValueError, ImportError):
        return None


def _file(module: str) -> Path | None:
    """The source of a module. Packages of `mnet` at the second level import nothing, so these may be imported."""
    parts = module.split(".")
    if parts[0] == "mnet" and len(parts) > 1:
        spec, inner = importlib.util.find_spec(".".join(parts[:2])), parts[2:]
    else:
        spec = importlib.machinery.PathFinder.find_spec(parts[0], [*sys.path, str(Path.cwd())])
        inner = parts[1:]
    if spec is None or spec.origin is None:
        return None
    if not inner:
        return Path(spec.origin)
    place = Path(spec.origin).parent.joinpath(*inner)
    return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")


def _assigns(line: ast.stmt, name: str) -> bool:
    targets = (
        [line.target]
        if isinstance(line, ast.AnnAssign)
        else line.targets
        if isinstance(line, ast.Assign)
        else []
    )
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)


def _assigned(body: list[ast.stmt], name: str) -> Any:
    for line in body:
        if _assigns(line, name):
            try:
                return ast.literal_eval(line.value)  # type: ignore[attr-defined]
            except ValueError:
                return None
    return None


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _fields(node: ast.ClassDef) -> list[str]:
    return [
        line.target.id
        for line in node.body
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and "ClassVar" not in ast.unparse(line.annotation)
    ]


def _arguments(node: ast.FunctionDef) -> list[str] | None:
    given = node.args
    if given.kwarg:
        return None
    return [argument.arg for argument in (*given.args, *given.kwonlyargs) if argument.arg != "self"]
