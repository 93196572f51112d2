"""The line of any key in any TOML text is found."""

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from trainbus.settings.toml_lines import Lines

text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    st.recursive(
        st.integers() | text, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
    )
)
def test_a_key_is_found_in_the_line_in_which_its_statement_begins(value: Any) -> None:
    """After any TOML text, a key is found in its line."""
    before = tomli_w.dumps({"first": {"value": value}, "list": [{"value": value}]}, multiline_strings=True)
    complete = f"{before}\n\n# here\n[mine]\n\nkey = '''\n[other]\nkey = 3\n'''\n[after]\nkey = 1\n"

    lines = complete.split("\n")
    assert Lines(complete).of(("mine", "key")) == lines.index("key = '''") + 1
    assert Lines(complete).of(("after", "key")) == len(lines) - 1
    assert Lines(complete).of(("mine", "none", 3)) == lines.index("[mine]") + 1


def test_a_long_file_needs_few_parses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines are bisected: a mistake in a file of a thousand callbacks is found at once."""
    table = '[[callbacks]]\ncallback = "EarlyStopping"\npatience = 3\n'
    lines, parsed = Lines(table * 1000), []

    def loads(text: str, parse: Any = tomllib.loads) -> Any:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(tomllib, "loads", loads)

    assert lines.of(("callbacks", 700, "patience")) == 700 * 3 + 3
    assert len(parsed) <= 20
