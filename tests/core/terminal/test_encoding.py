"""Text that a stream cannot encode is escaped."""

from io import BytesIO, StringIO, TextIOWrapper

from hypothesis import given
from hypothesis import strategies as st

from trainbus.terminal import encodable


@given(st.text(st.characters()), st.sampled_from(["ascii", "cp1252", "latin-1", "shift_jis", "utf-8", "utf-16", None]))
def test_whatever_a_stream_cannot_encode_is_escaped(text: str, encoding: str | None) -> None:
    """What it can encode is unchanged; a stream without an encoding takes any text."""
    stream = TextIOWrapper(BytesIO(), encoding, "strict") if encoding else StringIO()
    shown = encodable(text, stream)
    stream.write(shown)
    stream.flush()
    try:
        text.encode(encoding or "utf-32", "surrogatepass" if encoding is None else "strict")
    except UnicodeEncodeError:
        assert shown != text
    else:
        assert shown == text
