"""What a PyTorch pickle would make, found out without making it.

`torch.load(weights_only=True)` runs no foreign code, but it believes sizes: it takes the memory
that a storage claims, enlarges a storage that is too small for its tensor, and can be told to make
a bytearray of any length. So a pickle is first read as data, by the few operations that a state
dict is written with; one that needs any other operation or name is refused.
"""

import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, NamedTuple

# Element sizes of the storages that weights may lie in.
STORAGE_BYTES = {"FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8}
CALLABLE = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
}
MAX_INT = 1 << 40


class PickleError(ValueError):
    """A pickle that is damaged, or no plain set of tensors."""


class Storage(NamedTuple):
    """A run of numbers that several tensors may share."""

    key: str
    kind: str
    numel: int

    @property
    def nbytes(self) -> int:
        """Bytes that the file has to hold for it."""
        return self.numel * STORAGE_BYTES[self.kind]


class TensorOutline(NamedTuple):
    """A tensor without its values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Global(NamedTuple):
    """The name of a function or a class."""

    name: str


def outline_pickle(stream: BytesIO) -> Any:
    """The object of the pickle that begins at the stream's position, which is moved behind it.

    Returns:
        Dicts, lists, tuples, strings and numbers as they are, a `TensorOutline` for each tensor.

    Raises:
        PickleError: if it is damaged or asks for anything else.
    """
    machine = _Machine()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes, in texts that are refused anyway
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "STOP":
                    return machine.stack.pop()
                machine.step(opcode.name, argument)
    except PickleError:
        raise
    # Foreign bytes lead the decoder and the stack to any of these; none of them runs anything.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise PickleError(f"a damaged pickle ({error})") from error
    raise PickleError("a pickle without an end")


@dataclass
class _Machine:
    """The stack and the memo of a pickle, and what the permitted operations do to them."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)  # heights of the stack
    memo: dict[int, Any] = field(default_factory=dict)

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            if isinstance(argument, int) and abs(argument) > MAX_INT and name != "LONG1":
                raise PickleError(f"the number {argument}")
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.stack.append(_permitted(str(argument)))
        elif name in _OPERATIONS:
            _OPERATIONS[name](self)
        elif name != "PROTO":
            raise PickleError(f"a pickle with the operation {name}, which no state dict needs")

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        return self.take(len(self.stack) - start)

    def take(self, count: int) -> list[Any]:
        start = len(self.stack) - count
        if start < (self.marks[-1] if self.marks else 0) or count < 0:
            raise PickleError("a damaged pickle (its stack is too short)")
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def set_items(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise PickleError("a damaged pickle (items of no dict)")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, str):
                raise PickleError(f"a dict with a key of type {type(key).__name__}")
            target[key] = value

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise PickleError("a damaged pickle (items of no list)")
        target.extend(items)

    def find_storage(self) -> None:
        match self.take(1)[0]:
            case ("storage", Global(name), str(key), str(), int(numel), *views) if (
                views in ([], [None]) and name.removeprefix("torch ") in STORAGE_BYTES
            ):
                if not 0 <= numel <= MAX_INT:
                    raise PickleError(f"a storage of {numel} elements")
                self.stack.append(Storage(key, name.removeprefix("torch "), numel))
            case other:
                raise PickleError(f"a storage of another kind ({type(other).__name__})")

    def call(self) -> None:
        function, arguments = self.take(2)
        match function, arguments:
            case (Global("collections OrderedDict"), ()):
                self.stack.append({})
            case (
                Global("torch._utils _rebuild_tensor_v2"),
                (Storage() as storage, int(offset), tuple(shape), tuple(stride), *_),
            ) if all(type(number) is int for number in (*shape, *stride)):
                self.stack.append(TensorOutline(storage, offset, shape, stride))
            case (
                Global("torch._utils _rebuild_parameter"),
                (TensorOutline() as tensor, bool(), _),
            ):
                self.stack.append(tensor)
            case _:
                raise PickleError("a call that makes no tensor of a state dict")


def _permitted(name: str) -> Global:
    module, _, kind = name.partition(" ")
    if name not in CALLABLE and not (module == "torch" and kind in STORAGE_BYTES):
        raise PickleError(f"a pickle that asks for {name!a}, which no set of weights needs")
    return Global(name)


_PUSHED = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINSTRING", "BINSTRING"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_OPERATIONS: dict[str, Callable[[_Machine], None]] = {
    "MARK": lambda m: m.marks.append(len(m.stack)),
    "TUPLE": lambda m: m.stack.append(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m: m.stack.append(tuple(m.take(1))),
    "TUPLE2": lambda m: m.stack.append(tuple(m.take(2))),
    "TUPLE3": lambda m: m.stack.append(tuple(m.take(3))),
    "SETITEM": lambda m: m.set_items(m.take(2)),
    "SETITEMS": lambda m: m.set_items(m.pop_to_mark()),
    "APPEND": lambda m: m.append(m.take(1)),
    "APPENDS": lambda m: m.append(m.pop_to_mark()),
    "BINPERSID": _Machine.find_storage,
    "REDUCE": _Machine.call,
    "BUILD": lambda m: m.stack.__delitem__(-1),  # attributes of the state dict: versions of layers
}
