"""The picture in the README is drawn from a transcript, which `test_transcripts.py` plays to a real server."""

from pathlib import Path
from xml.etree import ElementTree

from bench.quote import PLOT, PLOTTED, drawn
from tools.picture import BEGIN, PICTURE, picture, screen


def test_it_is_up_to_date() -> None:
    """The picture shows the transcript as it is now. `make picture` draws it again."""
    assert PICTURE.read_text(encoding="utf-8") == picture()


def test_every_line_is_there(tmp_path: Path) -> None:
    """Each terminal shows what its client types and is sent, in order, with markup as text and wide characters in two
    columns."""
    path = tmp_path / "one.txt"
    steps = "S ana: * Hi <b>&\nC ana: 世界 ok\nS bob: other\nS ana: (end)\n"
    path.write_text(f"S ana: before\n{BEGIN}\n{steps}", encoding="utf-8")
    root = ElementTree.fromstring(picture(path))
    texts = [(one.text, float(one.get("x", "0"))) for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text, _ in texts] == [
        *("ana's terminal", "$", "nc localhost 4000", "* Hi <b>&", "世", "界", " ok"),
        *("bob's terminal", "$", "nc localhost 4000", "other"),
    ]
    assert [x for text, x in texts if text in ("世", " ok")] == [14.0, 14.0 + 4 * 8.4]
    long = screen(["x" * 100])
    assert (long.lines, long.columns) == (2, 80)


def test_the_plot_is_up_to_date() -> None:
    """The README's plot shows the recorded runs. `make bench-plot` measures them again, and `python -m bench.quote`
    draws them."""
    assert PLOT.read_text() == drawn(PLOTTED)
