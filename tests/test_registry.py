import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.registry import Registry


def test_register_returns_the_entry_and_get_finds_it():
    registry: Registry[type] = Registry("backbone")
    entry = registry.register("mfcc")(int)
    assert entry is int
    assert registry.get("mfcc") is int


def test_names_are_sorted():
    registry: Registry[int] = Registry("thing")
    for number, name in enumerate(["b", "c", "a"]):
        registry.register(name)(number)
    assert registry.names() == ["a", "b", "c"]


def test_unknown_name_lists_what_is_allowed():
    registry: Registry[int] = Registry("thing")
    registry.register("b")(1)
    registry.register("a")(2)
    with pytest.raises(MMFairseqError, match="unknown thing 'x'; known: a, b"):
        registry.get("x")


def test_registering_twice_is_an_error():
    registry: Registry[int] = Registry("thing")
    registry.register("a")(1)
    with pytest.raises(MMFairseqError, match="thing 'a' is registered twice"):
        registry.register("a")(2)
    assert registry.get("a") == 1
