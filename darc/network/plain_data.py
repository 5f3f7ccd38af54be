"""Plain data from pickles of others: a reader that can build nothing else, whatever the pickle says.

`pickle.loads` runs code that the sender chose. Programs that put items on our queue servers send pickles all
the same, since that is the protocol of `multiprocessing.managers`. Here the few instructions that plain data
need are carried out one by one: None, bool, int, float, str, bytes, list, tuple and dict with text as keys.
Scalars of numpy, which programs send without noticing, arrive as the Python number of the same value.
"""

from __future__ import annotations

import pickle
import pickletools
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from darc.errors import DARCError

#: Largest number of values: a few bytes that refer to each other can swell to any number.
MAX_VALUES = 10_000
#: Deepest nesting of containers.
MAX_DEPTH = 20
#: Integers are those of 64 bits, signed or not.
_MIN_INT, _MAX_INT = -(1 << 63), (1 << 64) - 1

_NUMPY_DTYPE = "numpy.dtype"
#: numpy's constructor of scalars, before and since numpy 2
_NUMPY_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
#: numpy's type codes as codes of the struct module
_STRUCT_CODES = {
    **{"b1": "?", "f2": "e", "f4": "f", "f8": "d"},
    **{"i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q"},
}


class PlainDataError(DARCError):
    """The data are not plain, too large or damaged."""


def loads(data: bytes) -> Any:
    """Return the plain data of a pickle (protocols 3 to 5).

    Raises:
        PlainDataError: if the pickle would build anything else, holds more than `MAX_VALUES` values, nests
            them deeper than `MAX_DEPTH`, or is damaged.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            action = _ACTIONS.get(opcode.name)
            if action is None:
                raise PlainDataError(f"not plain data: pickle instruction {opcode.name}")
            action(machine, argument)
        (item,) = machine.stack
        _check(item)
    except (LookupError, TypeError, ValueError, struct.error) as error:
        raise PlainDataError(f"damaged pickle: {shown(str(error))}") from error
    return item


def plain_copy(item: Any) -> Any:
    """Return an item as the receiver will see it.

    Raises:
        PlainDataError: if a receiver would refuse it.
    """
    try:
        return loads(pickle.dumps(item, protocol=4))
    except (pickle.PicklingError, AttributeError, RecursionError, TypeError) as error:
        raise PlainDataError(f"not plain data: {error}") from error


def shown(text: str, size: int = 100) -> str:
    """Return what the sender wrote fit for a line of the log: short, in ASCII, nothing that ends the line."""
    return ascii(text)[1:-1][:size]


def _check(item: Any) -> None:
    """Check what only the whole shows: number of values, depth, no leftovers of the reader itself."""
    level, count = [item], 0
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, _Name | _Dtype):
                raise PlainDataError(f"not plain data: {shown(str(value))}")
            if isinstance(value, str):
                value.encode()  # half of a pair of surrogates can be pickled, but neither logged nor sent on
            if isinstance(value, int) and not _MIN_INT <= value <= _MAX_INT:
                raise PlainDataError("an integer of more than 64 bits")
            if isinstance(value, dict | list | tuple):
                count += len(value)
                if count > MAX_VALUES:
                    raise PlainDataError(f"more than {MAX_VALUES} values")
                below.extend(value.values() if isinstance(value, dict) else value)
        if not below:
            return
        level = below
    raise PlainDataError(f"containers nested deeper than {MAX_DEPTH}")


@dataclass(frozen=True)
class _Name:
    """A name that a pickle refers to, never the object of that name."""

    name: str


@dataclass
class _Dtype:
    """numpy's type of a scalar: code as in `f8`, and byte order."""

    code: str
    order: str = "="

    def number(self, raw: bytes) -> bool | float:
        if self.code not in _STRUCT_CODES or self.order not in "<>=|":
            raise PlainDataError(
                f"not plain data: numpy scalar of type {shown(self.code)}; convert it with item()"
            )
        (value,) = struct.unpack(self.order.replace("|", "=") + _STRUCT_CODES[self.code], raw)
        return value  # type: ignore[no-any-return]


class _Machine:
    """The pickle machine: a stack, marks on it and a memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def take(self, count: int) -> list[Any]:
        return [self.stack.pop() for _ in range(count)][::-1]

    def take_marked(self) -> list[Any]:
        return self.take(len(self.stack) - self.marks.pop())

    def append(self, values: Iterable[Any]) -> None:
        self._top(list).extend(values)

    def set_items(self, flat: list[Any]) -> None:
        keys = flat[::2]
        if not all(isinstance(key, str) for key in keys):
            raise PlainDataError("not plain data: the keys of a dictionary have to be text")
        self._top(dict).update(zip(keys, flat[1::2], strict=True))

    def refer(self, module: Any, qualified: Any) -> None:
        name = f"{module}.{qualified}" if isinstance(module, str) and isinstance(qualified, str) else "?"
        if name != _NUMPY_DTYPE and name not in _NUMPY_SCALAR:
            raise PlainDataError(f"not plain data: the pickle would build {shown(name)}")
        self.push(_Name(name))

    def call(self) -> None:
        function, arguments = self.take(2)
        match function, arguments:
            case _Name(name=name), (str(code), *_) if name == _NUMPY_DTYPE:
                self.push(_Dtype(code))
            case _Name(name=name), (_Dtype() as dtype, bytes(raw)) if name in _NUMPY_SCALAR:
                self.push(dtype.number(raw))
            case _:
                raise PlainDataError("not plain data: the pickle would call a function")

    def build(self) -> None:
        (state,) = self.take(1)
        match state:
            case (_, str(order), *_):
                self._top(_Dtype).order = order
            case _:
                raise PlainDataError("not plain data: the pickle would set attributes")

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise PlainDataError(f"damaged pickle: no {kind.__name__} where one is filled")
        return self.stack[-1]

    def memoize(self, index: int | None = None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]


_VALUES = (
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
)
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda machine, _: None),
    **dict.fromkeys(_VALUES, _Machine.push),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "MARK": lambda machine, _: machine.marks.append(len(machine.stack)),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "APPEND": lambda machine, _: machine.append(machine.take(1)),
    "APPENDS": lambda machine, _: machine.append(machine.take_marked()),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "SETITEM": lambda machine, _: machine.set_items(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.take_marked()),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE1": lambda machine, _: machine.push(tuple(machine.take(1))),
    "TUPLE2": lambda machine, _: machine.push(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.push(tuple(machine.take(3))),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.take_marked())),
    "MEMOIZE": lambda machine, _: machine.memoize(),
    "BINPUT": _Machine.memoize,
    "LONG_BINPUT": _Machine.memoize,
    "BINGET": lambda machine, index: machine.push(machine.memo[index]),
    "LONG_BINGET": lambda machine, index: machine.push(machine.memo[index]),
    "STACK_GLOBAL": lambda machine, _: machine.refer(*machine.take(2)),
    "GLOBAL": lambda machine, name: machine.refer(*name.split(" ")),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
}
