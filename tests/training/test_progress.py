import io

from tfar.training import ProgressBar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_line_is_refreshed_in_place():
    bar = ProgressBar(10, "train", Terminal())
    bar.update(4)
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


def test_the_unit_that_compiles_does_not_count_for_the_time_left(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    bar = ProgressBar(101, "train", io.StringIO())
    now += 60  # the first step compiles
    bar.update(1, force=True)
    now += 4
    bar.update(3, force=True)
    first, second = bar.stream.getvalue().splitlines()
    assert "left" not in first and second.endswith("3 min 16 s left")


def test_work_of_an_earlier_process_does_not_count():
    bar = ProgressBar(10, "train", io.StringIO(), start=4)
    bar.update(4, force=True)
    bar.update(5, force=True)
    assert "left" not in bar.stream.getvalue()
