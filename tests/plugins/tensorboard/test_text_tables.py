"""Tests of the texts that TensorBoard shows."""

import html
import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbus.plugins import TensorBoard
from trainbus.plugins.tensorboard.text_tables import table

from ..event_readers import read
from .runs import short


def test_settings_and_environment_are_texts():
    """The options of every callback and the versions of the imported packages are shown."""
    short(TensorBoard("logs", update_freq=7))
    reader = read()["train"]
    settings, environment = (
        reader.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("settings", "environment")
    )
    assert "| TensorBoard | update\\_freq | 7 |" in settings
    assert f"| numpy | {np.__version__} |" in environment
    assert reader.SummaryMetadata("settings").plugin_data.plugin_name == "text"


def shown(text: str) -> tuple[list[str], str]:
    """Return the tags of the page for a cell with this text, and the text on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of what it imports
        from tensorboard.plugin_util import markdown_to_safe_html  # noqa: PLC0415 - it warns
    page = markdown_to_safe_html(table(["name"], [[text]]))
    cell = re.search(r"<td>(.*)</td>", page, re.DOTALL)
    assert cell is not None, page
    return re.findall(r"<[^>]*>", cell[1]), html.unescape(cell[1])


TEXTS = [
    *("<img src=http://x.y/z.png>", "<script>alert(1)</script>", "![a](http://x.y/z.png)", "[a](javascript:alert(1))"),
    *(
        "&lt;b&gt;",
        "&copy;",
        "<http://x.y>",
        "`code`",
        "**a** __b__",
        "a | b",
        "a\\|b",
        "a\\",
        "[a]: http://x.y",
        "# a",
        "- a",
    ),
    *("{a}", "<!-- a -->", "</td><td>", "1. a", "***", "\\*a\\*", "&#60;b&#62;", "<a href=x>y</a>"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_shown_as_it_is(text: str) -> None:
    """A reason or a name may come from a settings file or a data set; it makes no link, image or heading."""
    assert shown(text) == ([], text)


@given(text=st.text(st.sampled_from("ab1|*_`<>[](){}!&;#~:/\\\"'=-+. "), min_size=1, max_size=20))
def test_any_text_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == ([], " ".join(text.split()))
