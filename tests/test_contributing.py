"""The example of CONTRIBUTING.md runs as it stands: a new layer with state, and a model of it."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "CONTRIBUTING.md"


def test_the_example_of_a_layer_passes_its_assertions(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"^tfar\.testing\.assert_", example, re.MULTILINE)) == 4
    exec(compile(example, str(PAGE), "exec"), {"__name__": "example"})
    assert (tmp_path / "decay.keras").exists()
    assert capsys.readouterr().out.startswith("tf.Tensor(")
