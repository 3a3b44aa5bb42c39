from __future__ import annotations

import importlib
import inspect
from types import ModuleType

import pytest

import mallku_client
from mallku_client import exceptions, sync
from mallku_contracts import errors


@pytest.mark.parametrize("module", [mallku_client, sync, exceptions])
def test_the_public_list_is_sorted_and_true(module: ModuleType) -> None:
    """`__all__` is sorted, names nothing twice, and everything in it is there."""
    names = list(module.__all__)
    assert names == sorted(set(names))
    assert [name for name in names if not hasattr(module, name)] == []


def test_nothing_public_is_left_out() -> None:
    """Whatever `mallku_client` shows without an underscore is on its list, but for modules."""
    shown = {
        name
        for name, value in vars(mallku_client).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name != "annotations"
    }
    assert shown == set(mallku_client.__all__)


def test_every_error_is_exported() -> None:
    """`mallku_client.exceptions` has the whole tree; aliases are the same classes."""
    tree = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.MallkuError)
    }
    aliases = {"ArangoError", "DocumentRevisionError", "ServerConnectionError"}
    assert set(exceptions.__all__) == tree | aliases
    assert all(getattr(exceptions, name) is getattr(errors, name) for name in tree)
    assert exceptions.ArangoError is errors.MallkuError


def test_exported_classes_are_where_they_say() -> None:
    """Each exported class can be found again by its module and name, as pickle does."""
    for name in mallku_client.__all__:
        value = getattr(mallku_client, name)
        assert getattr(importlib.import_module(value.__module__), value.__qualname__) is value
