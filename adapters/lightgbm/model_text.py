"""Check the text of a model of LightGBM, which ends the process for some damaged texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_NODES = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
"""Fields with one value for each inner node of a tree."""


def check_text(text: str) -> None:
    r"""Check that a text has all trees that it announces, and that their fields fit together.

    Args:
        text: What ``Booster.model_to_string`` returned.

    Raises:
        ValueError: It is damaged.

    >>> check_text("tree\nversion=v4\ntree_sizes=900\n\nTree=0\nnum_leaves=31\n")
    Traceback (most recent call last):
        ...
    ValueError: tree 0 is not complete
    """
    data = text.encode()
    head, found, _ = data.partition(b"\n\n")
    sizes = _fields(head.decode()).get("tree_sizes")
    if not data.startswith(b"tree\n") or not found or sizes is None:
        raise ValueError("it is no text of a model")
    start = len(head) + 2
    for number, size in enumerate(map(int, sizes.split())):
        tree = data[start : start + size]
        if size < 1 or len(tree) < size or not tree.startswith(b"Tree=%d\n" % number):
            raise ValueError(f"tree {number} is not complete")
        _check_tree(number, _fields(tree.decode()))
        start += size
    rest = data[start:]
    if not rest.startswith(b"end of trees\n") or b"\nend of parameters\n" not in rest:
        raise ValueError("its end is missing")


def _check_tree(number: int, tree: Mapping[str, str]) -> None:
    leaves = int(tree.get("num_leaves", "0"))
    counts = {"leaf_value": leaves, **dict.fromkeys(_NODES if leaves > 1 else (), leaves - 1)}
    for name, count in counts.items():
        values = tree.get(name, "").split()
        if leaves < 1 or len(values) != count:
            raise ValueError(f"tree {number} has {len(values)} values of {name} and {leaves} leaves")
        if name.endswith("_child") and not all(-leaves <= int(each) < leaves - 1 for each in values):
            raise ValueError(f"tree {number} has a child that is not in the tree")
        if name in ("leaf_value", "threshold"):
            list(map(float, values))
        elif name in ("split_feature", "decision_type"):
            list(map(int, values))


def _fields(text: str) -> dict[str, str]:
    return dict(_pairs(text))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value
