import io

from tfar.training import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_line_is_refreshed_in_place():
    bar = ProgressBar(10, "train", Terminal())
    bar.update(5, "1.9 bits/dim", force=True)
    bar.update(10, force=True)
    bar.close()
    text = bar.stream.getvalue()
    assert text.count("\r") == 2 and text.count("\n") == 1 and "5/10  1.9 bits/dim  0 s left" in text


def test_a_file_gets_a_line_now_and_then():
    bar = ProgressBar(1000, "train", io.StringIO())
    for done in range(1000):
        bar.update(done)
    assert bar.stream.getvalue() == ""
    bar.update(1000, force=True)
    assert bar.stream.getvalue() == "train  [####################]  1000/1000\n"
