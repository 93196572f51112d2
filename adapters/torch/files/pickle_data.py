"""Pickles as plain data: nothing that a pickle names is imported, called, hashed or changed."""

# pickles hold values of any kind
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import pickle
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from struct import unpack
from typing import IO, Any, Final, NamedTuple

_LINE: Final = 512
"""Length of the longest line with the name of a module or class."""
_PIECE: Final = 1 << 16
"""Up to this many bytes are read without a look at the size of the file."""


class Name(NamedTuple):
    """What a pickle imports."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Persistent(NamedTuple):
    """What is stored outside of the pickle."""

    identity: Any


class Items(list[tuple[Any, Any]]):
    """The items of a dictionary, in order."""


class Made:
    """What a call would make.

    Args:
        maker: What is called.
        arguments: The arguments of the call.
    """

    __slots__ = ("arguments", "items", "maker", "state")

    def __init__(self, maker: Name, arguments: tuple[Any, ...]) -> None:
        self.maker = maker
        self.arguments = arguments
        self.items = Items()
        """What is added to it, if it is a dictionary."""
        self.state: Any = None
        """What its attributes are set from."""


class PickleReader:
    """Reads one pickle after another, of those that ``torch.save`` and DCP write.

    Args:
        file: The file.
        size: The number of bytes in it.
        refuse: Raises an error for a name that no such pickle holds.

    >>> import io
    >>> from pathlib import PurePosixPath
    >>> data = pickle.dumps({"path": PurePosixPath("a")}, protocol=2)
    >>> [(key, made)] = PickleReader(io.BytesIO(data), len(data)).read()
    >>> key, str(made.maker), made.arguments
    ('path', 'pathlib.PurePosixPath', ('a',))
    """

    def __init__(self, file: IO[bytes], size: int, refuse: Callable[[Name], object] = lambda _: None) -> None:
        self._file, self._size, self._refuse = file, size, refuse
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._steps: dict[bytes, Callable[[], object]] = {
            b"": lambda: self._take(1),  # the end of the file
            pickle.PROTO: lambda: self._take(1),
            pickle.FRAME: lambda: self._take(8),
            pickle.MARK: lambda: self._marks.append(len(self._stack)),
            pickle.NONE: lambda: self._push(None),
            pickle.NEWTRUE: lambda: self._push(value=True),
            pickle.NEWFALSE: lambda: self._push(value=False),
            pickle.BININT: lambda: self._push(*unpack("<i", self._take(4))),
            pickle.BININT1: lambda: self._push(self._number(1)),
            pickle.BININT2: lambda: self._push(self._number(2)),
            pickle.LONG1: lambda: self._push(int.from_bytes(self._take(self._number(1)), "little", signed=True)),
            pickle.BINFLOAT: lambda: self._push(*unpack(">d", self._take(8))),
            pickle.SHORT_BINUNICODE: lambda: self._push(self._text(1)),
            pickle.BINUNICODE: lambda: self._push(self._text(4)),
            pickle.BINUNICODE8: lambda: self._push(self._text(8)),
            pickle.SHORT_BINSTRING: lambda: self._push(self._take(self._number(1))),
            pickle.EMPTY_TUPLE: lambda: self._push(()),
            pickle.EMPTY_LIST: lambda: self._push([]),
            pickle.EMPTY_DICT: lambda: self._push(Items()),
            pickle.TUPLE: lambda: self._push(tuple(self._since_mark())),
            pickle.TUPLE1: lambda: self._tuple(1),
            pickle.TUPLE2: lambda: self._tuple(2),
            pickle.TUPLE3: lambda: self._tuple(3),
            pickle.APPEND: lambda: self._extend([self._pop()]),
            pickle.APPENDS: lambda: self._extend(self._since_mark()),
            pickle.SETITEM: lambda: self._set_items([self._pop(), self._pop()][::-1]),
            pickle.SETITEMS: lambda: self._set_items(self._since_mark()),
            pickle.GLOBAL: lambda: self._import(self._line(), self._line()),
            pickle.STACK_GLOBAL: lambda: self._import(*[self._pop(), self._pop()][::-1]),
            pickle.REDUCE: lambda: self._make(self._pop(), self._pop()),
            pickle.NEWOBJ: lambda: self._make(self._pop(), self._pop()),
            pickle.BUILD: lambda: self._set_state(self._pop()),
            pickle.BINPERSID: lambda: self._push(Persistent(self._pop())),
            pickle.BINPUT: lambda: self._remember(self._number(1)),
            pickle.LONG_BINPUT: lambda: self._remember(self._number(4)),
            pickle.MEMOIZE: lambda: self._remember(len(self._memo)),
            pickle.BINGET: lambda: self._push(self._memo[self._number(1)]),
            pickle.LONG_BINGET: lambda: self._push(self._memo[self._number(4)]),
        }

    def read(self) -> Any:
        """Return the content of the next pickle.

        Raises:
            UnpicklingError: It is damaged, or does what no pickle of a state does.
        """
        self._stack.clear()
        self._marks.clear()
        self._memo.clear()
        steps, read = self._steps, self._file.read
        try:
            while (code := read(1)) != pickle.STOP:
                steps[code]()
            (found,) = self._stack
        except KeyError as error:
            raise pickle.UnpicklingError(f"it holds {error}, which torch.save does not write") from error
        except (ValueError, IndexError, TypeError) as error:
            raise pickle.UnpicklingError(f"it is damaged: {error}") from error
        return found

    def _take(self, count: int) -> bytes:
        if count > _PIECE and count > self._size - self._file.tell():
            raise pickle.UnpicklingError("it ends too early")
        data = self._file.read(count)
        if len(data) < count:
            raise pickle.UnpicklingError("it ends too early")
        return data

    def _number(self, count: int) -> int:
        return int.from_bytes(self._take(count), "little")

    def _text(self, count: int) -> str:
        return str(self._take(self._number(count)), "utf-8", "surrogatepass")

    def _line(self) -> str:
        line = self._file.readline(_LINE)
        if not line.endswith(b"\n"):
            raise pickle.UnpicklingError("it imports a name of more than 500 characters")
        return line[:-1].decode()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise pickle.UnpicklingError("it is damaged: a mark is in the way")
        return self._stack.pop()

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        found = self._stack[mark:]
        del self._stack[mark:]
        return found

    def _tuple(self, count: int) -> None:
        self._push(tuple([self._pop() for _ in range(count)][::-1]))

    def _extend(self, values: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise pickle.UnpicklingError("it appends to an object that is not a list")
        self._stack[-1].extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._stack[-1]
        items = target.items if isinstance(target, Made) else target
        if not isinstance(items, Items):
            raise pickle.UnpicklingError("it sets items of an object that is not a dictionary")
        items.extend(zip(values[::2], values[1::2], strict=True))

    def _import(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise pickle.UnpicklingError("it imports a name that is not text")
        # Python's and PyTorch's own readers know the names of Python 2, too
        found = Name(*NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))
        self._refuse(found)
        self._push(found)

    def _make(self, arguments: Any, maker: Any) -> None:
        if not (isinstance(maker, Name) and type(arguments) is tuple):
            raise pickle.UnpicklingError("it calls an object that is not a class")
        self._push(Made(maker, arguments))

    def _set_state(self, state: Any) -> None:
        made = self._stack[-1]
        if not isinstance(made, Made):
            what = str(made) if isinstance(made, Name) else f"a {type(made).__name__}"
            raise pickle.UnpicklingError(f"it sets attributes of {what}, which is not a new object")
        if made.state is not None:
            raise pickle.UnpicklingError("it sets attributes of an object twice")
        made.state = state

    def _remember(self, place: int) -> None:
        self._memo[place] = self._stack[-1]
