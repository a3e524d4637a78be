"""Data sets by name and by dotted path."""

import sys
from pathlib import Path

import pytest

from mnet.toolchain.builtin import data_sets
from mnet.toolchain.data import Interactions, load_data_set, load_interactions
from mnet.toolchain.errors import UserError

OWN = """
from mnet.toolchain.data.interactions import from_columns
import numpy as np

class Photos:
    name = "photos"
    def summary(self): return {"photos": 1}

def load(path):
    return from_columns("own", np.array([0]), np.array([1]), np.array([0]), n_items=1)

def photos(path):
    return Photos()
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_sets.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_sets", raising=False)
    return "own_sets"


def test_a_set_of_your_own_is_a_dotted_path(own: str) -> None:
    assert isinstance(load_interactions(f"{own}:load"), Interactions)
    assert load_data_set(f"{own}:photos").summary() == {"photos": 1}


def test_a_recommender_needs_interactions(own: str) -> None:
    with pytest.raises(UserError, match="own_sets:photos is no set of interactions"):
        load_interactions(f"{own}:photos")


def test_a_table_is_a_set_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("user,item\na,b\n")
    assert load_data_set("table", tmp_path / "orders.csv").summary()["users"] == 1


def test_an_unknown_name_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(UserError, match=f"no data set 'movielens': take {', '.join(data_sets())}"):
        load_data_set("movielens")


def test_settings_go_to_the_data_set(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("who,item\na,b\n")
    with pytest.raises(UserError, match="has no column user"):
        load_data_set("table", tmp_path / "orders.csv")
    columns = {"user": "who"}
    assert load_interactions("table", tmp_path / "orders.csv", columns=columns).user_ids == ("a",)
    with pytest.raises(UserError, match=r"movielens-100k does not take these settings: .*columns"):
        load_data_set("movielens-100k", tmp_path, columns=columns)
