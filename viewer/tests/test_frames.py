"""The frames of the data websocket, on both sides."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamvis_viewer.frames import Array, Op, decode, encode, note

arrays = st.lists(hnp.arrays(st.sampled_from(["<f4", "<f8", "<u4", "u1"]), st.integers(0, 9)), max_size=6)


@given(st.sampled_from(Op), st.integers(0, 255), arrays)
def test_a_frame_carries_its_arrays(op: Op, plot: int, sent: list[Array]) -> None:
    """Operation, plot, dtypes and bytes come back, and every array begins at a multiple of four bytes."""
    frame = encode(op, plot, *sent)
    assert len(frame) % 4 == 0
    got_op, got_plot, got = decode(frame)
    assert (got_op, got_plot) == (op, plot)
    assert [(array.dtype, array.tobytes()) for array in got] == [(array.dtype, array.tobytes()) for array in sent]


def test_a_note_carries_any_text() -> None:
    """Scopes and names are whatever people wrote, lone surrogates included."""
    _, _, (text,) = decode(note(3, {"label": "läuft \ud800 </script>"}))
    assert np.asarray(text).dtype == np.dtype("u1")
    assert b"</script>" in text.tobytes()
