"""`import mnet`: quick, lazy, complete, and its story runs as it is printed."""

import ast
import inspect
import subprocess
import sys
import textwrap
from operator import attrgetter
from pathlib import Path

import pytest

import mnet

SHORT = '["static.epochs=1", "metanetwork.fit.epochs=1"]'


def test_the_names_are_sorted_documented_and_there() -> None:
    assert mnet.__all__ == sorted(mnet.__all__)
    for name in mnet.__all__:
        assert inspect.getdoc(getattr(mnet, name)), f"mnet.{name} has no docstring"
    assert set(mnet.__all__) <= set(dir(mnet))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(inspect.getsource(mnet))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.asname or alias.name: f"{line.module}:{alias.name}"
        for line in block.body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    }
    assert seen == mnet._PUBLIC
    assert sorted(seen) == mnet.__all__


@pytest.mark.parametrize("name", [*mnet.__all__, "Session.run", "Session.swap"])
def test_functions_say_what_they_take_give_and_raise(name: str) -> None:
    thing = attrgetter(name)(mnet)
    if inspect.isfunction(thing):
        text = inspect.getdoc(thing) or ""
        for section in ("Args:", "Returns:", "Raises:"):
            assert section in text, f"mnet.{name}: no {section}"
        for parameter in inspect.signature(thing).parameters.keys() - {"self"}:
            assert f"{parameter}: " in text, f"mnet.{name} does not describe {parameter}"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        mnet.trian  # type: ignore[attr-defined]  # noqa: B018


def test_the_import_waits_for_nothing_heavy() -> None:
    code = (
        "import sys, mnet; print({'torch', 'numpy', 'pydantic', 'rich'} & set(sys.modules), mnet.__version__)"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert printed.split() == ["set()", mnet.__version__]


def test_the_story_of_the_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert mnet.__doc__
    _, _, code = mnet.__doc__.partition("::\n")
    code = textwrap.dedent(code.partition("Every name")[0])
    lines = [line for line in code.splitlines() if line and not line.startswith("import")]
    assert len(lines) <= 10
    call = '"runs/drift")'
    assert call in code
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code.replace(call, f'"runs/drift", {SHORT})', 1), names)
    session = names["session"]
    assert isinstance(session, mnet.Session)
    assert session.version == 1
    run, bundle = names["run"], names["bundle"]
    assert isinstance(run, mnet.Run) and isinstance(bundle, mnet.Bundle)
    generated = mnet.generate(run, [50, 172, 181])
    assert {name: value.shape for name, value in generated.items()} == {
        name: value.shape for name, value in bundle.default_weights.items()
    }
