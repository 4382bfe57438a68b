"""How `chatctl` shows amounts to people."""

from chatserver.chatctl.output import counted, size, span


def test_amounts() -> None:
    """Counts have their noun in the right number; sizes and times have the unit that suits them."""
    assert [counted(count, "reader") for count in (0, 1, 1200)] == ["0 readers", "1 reader", "1,200 readers"]
    assert counted(2, "entry", "entries") == "2 entries"
    assert [size(count) for count in (0, 1023, 1536, 124_151_398, 3 << 30)] == ["0", "1023", "1.5K", "118.4M", "3.0G"]
    assert [span(seconds) for seconds in (0.9, 59, 185, 7680, 792_000)] == ["0s", "59s", "3m05s", "2h08m", "9d04h"]
