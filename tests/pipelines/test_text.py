"""Text out of a run: drawn in pieces, found by beams, coloured by surprise."""

import numpy as np
import pytest

import tfar
from pipelines import sample, text
from pipelines import workdir as runs
from pipelines.configs import text_transformer
from tests.commands import run
from tests.runs import TEXT
from tfar.core.vocabulary import Vocabulary
from tfar.testing import randomize_weights


@pytest.fixture(scope="module")
def workdir(runs_bank):
    return runs_bank.char_rnn()


@pytest.fixture(scope="module", params=["characters", "bytes"])
def model(request):
    vocabulary, levels = ("\n <abcdé", 8) if request.param == "characters" else (None, 256)
    head = tfar.heads.Categorical(levels)
    model = tfar.models.CausalTransformer((None,), head, width=8, num_layers=1, num_heads=2, vocabulary=vocabulary)
    randomize_weights(model)
    return model


def test_the_run_shows_samples_and_surprise(runs_bank):
    workdir = runs_bank.transformer()
    page, samples = (workdir / "report.html").read_text(), (workdir / "samples.txt").read_text()
    assert "What each character costs" in page and "Completions" not in page
    key = page[page.index('<p class="key">') : page.index('<pre class="text">')]
    assert [f"&nbsp;{bits}&nbsp;" in key for bits in (0, 2, 4, 6, 8)] == [True] * 5
    assert "Samples over time" in page and page.count("<pre class='text'>") == 2 + 1
    assert page.count(' bits">') == round(0.1 * len(TEXT))
    assert set(samples) <= set(TEXT) | set("-\n") and len(samples) > 2 * 400


def test_the_terminal_gets_the_text_in_pieces(workdir, capsys):
    texts = sample.sample_text(workdir, 2, length=40, prompt="the ", seed=1)
    assert capsys.readouterr().out == f"--- 1 ---\n{texts[0]}\n--- 2 ---\n{texts[1]}\n"
    assert all(len(one) == 44 and one.startswith("the ") for one in texts) and texts[0] != texts[1]
    model = runs.load_run(workdir).model
    # A text does not depend on how many are drawn.
    assert text.generate(model, prompt="the ", length=40, seed=1) == texts[:1]
    assert text.generate(model, prompt="the ", length=40) != texts[:1]


def test_a_file_instead(workdir, tmp_path, capsys):
    out = tmp_path / "a.txt"
    (found,) = sample.sample_text(workdir, 1, str(out), length=20, beam_width=3)
    assert out.read_text() == found + "\n" and len(found) == 20 and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": "the €"}, r"got '€' \(U\+20AC\) at position 4"),
        ({"top_p": 2.0}, "top_p must lie in 0 < p <= 1, got 2.0"),
        ({"out": "a.png"}, "--out must end in .txt, got a.png"),
        ({"num": 3, "beam_width": 2}, "beam_width must be at least the number of texts, 3, got 2"),
        ({"label": 1}, "--label=1 was given, but the model .* has no Label condition"),
    ],
)
def test_bad_arguments(workdir, arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        sample.sample_text(workdir, **{"num": 1, "length": 3, **arguments})
    assert "\n" not in str(error.value)


def test_flags_of_other_kinds_of_run_are_refused(workdir):
    code, _, stderr = run("pipelines.sample", f"--workdir={workdir}", "--columns=3")
    assert code == 2 and stderr.startswith("error: --columns is for runs of image")


def test_pieces_are_written_as_they_come(model):
    pieces = []
    (found,) = text.generate(model, prompt="a", length=40, write=pieces.append)
    assert "".join(pieces) == found + "\n" and found.startswith("a")
    assert len(pieces) > 3  # the prompt, more than one chunk, the line break
    if model.vocabulary:
        assert len(found) == 41


def test_characters_of_several_bytes_are_not_cut():
    symbols = Vocabulary()
    encoded = symbols.encode("né€")
    pieces = list(text.characters(symbols, iter([encoded[:2], encoded[2:4], encoded[4:], [0xC3]])))
    assert "".join(pieces) == "né€\ufffd" and pieces[0] == "n"


def test_surprise_is_added_over_the_bytes_of_a_character():
    found = text.coloured(Vocabulary(), Vocabulary().encode("a€<"), np.array([0.0, 1.0, 1.0, 2.0, 100.0]))
    assert found == (
        '<span class="s0" title="a: 0.0 bits">a</span><span class="s6" title="€: 4.0 bits">€</span>'
        '<span class="s12" title="&lt;: 100.0 bits">&lt;</span>'
    )


def test_a_model_of_no_text_is_refused():
    model = tfar.models.CausalTransformer((None,), tfar.heads.Categorical(5), width=8, num_layers=1)
    with pytest.raises(ValueError, match="it carries no vocabulary"):
        text.generate(model)


def test_the_real_configuration_names_its_model():
    config = text_transformer.get_config()
    assert config.model.name == "CausalTransformer" and config.model.max_length == config.data.window == 256
