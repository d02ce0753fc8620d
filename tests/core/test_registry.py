"""Components by name, by where they live, and what is said when neither is there."""

import sys
from abc import ABC, abstractmethod
from types import ModuleType

import pytest

from xal.core.registry import Component, nearest
from xal.errors import XalError


class Shape(Component, ABC, family="shape"):
    @abstractmethod
    def area(self) -> float: ...


class Circle(Shape, name="circle"):
    def area(self) -> float:
        return 3.0


class Unnamed(Shape):
    def area(self) -> float:
        return 0.0


def test_families_do_not_share_names() -> None:
    class Colour(Component, family="colour"):
        pass

    assert Shape.registry == {"circle": Circle} and Colour.registry == {}
    assert Shape.named("circle") is Circle
    with pytest.raises(XalError, match="unknown colour 'circle'"):
        Colour.named("circle")


def test_a_users_own_is_named_by_where_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Unnamed.name == f"{__name__}:Unnamed"
    module = ModuleType("their_shapes")
    module.Unnamed, module.Shape = Unnamed, Shape  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_shapes", module)
    assert Shape.named("their_shapes:Unnamed") is Unnamed
    with pytest.raises(XalError, match="lacks area"):
        Shape.named("their_shapes:Shape")
    with pytest.raises(XalError, match="'their_shapes:Other' cannot be imported"):
        Shape.named("their_shapes:Other")
    with pytest.raises(XalError, match="not a shape"):
        Shape.named("collections:Counter")


def test_the_nearest_name_or_all() -> None:
    assert nearest("entropi", ["margin", "entropy"]) == "; did you mean 'entropy'?"
    assert nearest("zzz", ["margin", "entropy"]) == "; choose one of: entropy, margin"
    with pytest.raises(XalError, match="unknown shape 'cirle'; did you mean 'circle'"):
        Shape.named("cirle")
