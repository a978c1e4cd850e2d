"""Pickles of `torch.save`, read as data: names, calls and storages stand in the tree as what they are.

What a pickle makes and throws away again was made all the same: every name and every call is kept beside the tree.
"""

from typing import Any

from ..errors import MMFairseqError
from ..pickles import Grown, Machine, Made, Name, keys

STORAGE = Name("torch", "storage")  # stands for what a persistent id means: (kind, storage class, key, place, numel)
RESULT = Name("the result", "of a call")  # is called itself, with what it is as its first argument
MAX_STEPS = 2**21  # opcodes: a dictionary of 250,000 symbols has a million
MAX_MADE = 2**18  # calls: a tensor is three
MAPPINGS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter"}


class Mapping(dict):
    """A dictionary that was made by a call: `OrderedDict` and its kin.

    Args:
        name: of the class.
        args: of the call.
    """

    def __init__(self, name: Name, args: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self.name, self.args = name, args
        self.state: Any = None


class TorchMachine(Machine):
    """Reads one pickle of a checkpoint; `made` and `names` hold all that it made and named.

    Args:
        data, where, steps_left: see `Machine`.
    """

    numbers_a_step = 4

    def __init__(self, data: Any, where: str, steps_left: int = MAX_STEPS) -> None:
        super().__init__(data, where, lambda module, name: True, steps_left)
        self.made: list[Made] = []
        self.names: dict[str, None] = {}

    def run(self) -> Any:
        """The tree, see `Machine`; with `Mapping`s, and storages as `Made` of `STORAGE`."""
        try:
            tree = super().run()
        except (RecursionError, MemoryError) as error:
            raise MMFairseqError(f"{self.where}: a damaged pickle: {type(error).__name__}") from error
        if self.stack or self.marks:
            raise MMFairseqError(f"{self.where}: a damaged pickle: it ends within a list")
        return tree

    def _name(self, module: Any, name: Any) -> None:
        super()._name(module, name)
        self.names[str(self.stack[-1])] = None

    def _make(self) -> None:
        args, called = self.stack.pop(), self.stack.pop()
        if not isinstance(args, tuple):
            raise TypeError("a call without arguments")
        made = Made(called, args) if isinstance(called, Name) else Made(RESULT, (called, *args))
        self._keep(made)
        if str(made.name) in MAPPINGS:
            self.stack[-1] = Mapping(made.name, made.args)
            if str(made.name) != "collections.defaultdict" and made.args:
                pairs = made.args[0]
                items = pairs.parts if isinstance(pairs, Grown) else list(pairs)
                self.count(len(items))
                for pair in items:
                    key, value = pair.parts if isinstance(pair, Grown) else pair
                    self.stack[-1][keys([key])[0]] = value

    def _build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], Made | Mapping):
            raise TypeError("a state of something that was not made")
        if self.stack[-1].state is not None:
            raise TypeError("a state is set twice")
        self.stack[-1].state = state

    def _persistent(self) -> None:
        number = self.stack.pop()
        if not isinstance(number, tuple):
            raise TypeError("a persistent id that is none of torch")
        self._keep(Made(STORAGE, number))

    def _keep(self, made: Made) -> None:
        self.stack.append(made)
        self.made.append(made)
        if len(self.made) > MAX_MADE:
            raise MMFairseqError(f"{self.where}: byte {self.at}: more than {MAX_MADE} calls")

    steps = Machine.steps | {b"Q": lambda m: m._persistent()}
