"""ONNX files, written without a library: a graph of operators and constants as protocol buffers.

Field numbers and types are those of onnx.proto3 (ONNX 1.x, https://github.com/onnx/onnx): each field is a tag
with its number and wire type, then a variable-length integer, a length and content, or four bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

#: Version of the file format, and of the operators, that are written; ONNX Runtime has read both since 1.13.
IR_VERSION, OPSET = 8, 17
_VARINT, _BYTES, _FLOAT = 0, 2, 5
_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}
#: Numbers of AttributeProto's types.
_AS_FLOAT, _AS_INT, _AS_STRING, _AS_INTS = 1, 2, 3, 7

Attribute = int | float | str | Sequence[int]


class Graph:
    """A graph under construction. Tensors are known by the names that `constant` and `add` return.

    Args:
        name: of the input
        shape: of the input; a text stands for an axis of any length
    """

    def __init__(self, name: str, shape: Sequence[int | str]) -> None:
        self.input = name
        self._shape = shape
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, values: NDArray[np.generic]) -> str:
        """Add a constant, 32-bit floats or 64-bit integers."""
        name = f"constant{len(self._constants)}"
        dims = b"".join(_field(1, size) for size in values.shape)
        content = np.ascontiguousarray(values).tobytes()
        tensor = dims + _field(2, _TYPES[values.dtype]) + _field(8, name) + _field(9, content)
        self._constants.append(tensor)
        return name

    def add(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """Add an operator with one output, and return the output's name."""
        output = f"{operator.lower()}{len(self._nodes)}"
        fields = [_field(1, name) for name in inputs]
        fields += [_field(2, output), _field(4, operator)]
        fields += [_field(5, _attribute(name, value)) for name, value in attributes.items()]
        self._nodes.append(b"".join(fields))
        return output

    def build(
        self, output: str, name: str, shape: Sequence[int | str], properties: Mapping[str, str]
    ) -> bytes:
        """Return the file.

        Args:
            output: tensor that is the answer
            name: what the answer is called
            shape: of the answer
            properties: texts that say where the model comes from
        """
        answer = _field(1, output) + _field(2, name) + _field(4, "Identity")
        graph = b"".join(_field(1, node) for node in (*self._nodes, answer))
        graph += _field(2, "darc") + b"".join(_field(5, constant) for constant in self._constants)
        graph += _field(11, _value(self.input, self._shape)) + _field(12, _value(name, shape))
        entries = (_field(1, key) + _field(2, text) for key, text in properties.items())
        return b"".join(
            (
                _field(1, IR_VERSION),
                _field(2, "darc"),
                _field(7, graph),
                _field(8, _field(2, OPSET)),
                *(_field(14, entry) for entry in entries),
            )
        )


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    """Return a ValueInfoProto of 32-bit floats."""
    axes = b"".join(_field(1, _field(1 if isinstance(axis, int) else 2, axis)) for axis in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, axes)))


def _attribute(name: str, value: Attribute) -> bytes:
    """Return an AttributeProto."""
    start = _field(1, name)
    if isinstance(value, float):
        return start + _varint(2 << 3 | _FLOAT) + struct.pack("<f", value) + _field(20, _AS_FLOAT)
    if isinstance(value, int):
        return start + _field(3, value) + _field(20, _AS_INT)
    if isinstance(value, str):
        return start + _field(4, value) + _field(20, _AS_STRING)
    return start + b"".join(_field(8, number) for number in value) + _field(20, _AS_INTS)


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        # negative numbers are 64 bits in two's complement
        return _varint(number << 3 | _VARINT) + _varint(value & 2**64 - 1)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
