"""The demonstration page in a real browser, against a real server; skipped where there is no Chromium."""

import base64
import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from export.client import Client

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PAGE = Path(__file__).resolve().parents[3] / "export" / "server" / "page"


class Browser:
    """Chromium without a window, driven over the DevTools protocol.

    Args:
        program: its path.
        folder: for its profile.
    """

    def __init__(self, program, folder):
        flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
        self._process = subprocess.Popen(
            [program, *flags, "--remote-debugging-port=0", f"--user-data-dir={folder}", "--window-size=1100,1400"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port_file = Path(folder, "DevToolsActivePort")
            port = until(lambda: port_file.exists() and port_file.read_text().split("\n")[0], 30)
            pages = until(lambda: [page for page in self._list(port) if page["type"] == "page"], 10)
            self._socket = self._connect(int(port), pages[0]["webSocketDebuggerUrl"].split(str(port), 1)[1])
        except BaseException:
            self.close()
            raise
        self._number, self.problems = 0, []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    @staticmethod
    def _list(port):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as reply:
            return json.load(reply)
        return []

    @staticmethod
    def _connect(port, path):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        reply = b""
        while not reply.endswith(b"\r\n\r\n"):
            reply += connection.recv(1)
        if b" 101 " not in reply:
            raise OSError(f"no websocket: {reply!r}")
        return connection

    def __call__(self, method, **params):
        """One command of the protocol; returns its result."""
        self._number += 1
        self._send(json.dumps({"id": self._number, "method": method, "params": params}).encode())
        while True:
            message = json.loads(self._receive())
            if message.get("method") == "Runtime.exceptionThrown":
                self.problems.append(str(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.problems.append(message["params"]["entry"]["text"])
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(message["error"])
                return message["result"]

    def _send(self, data):
        mask = os.urandom(4)
        size = (
            struct.pack("!BB", 0x81, 0x80 | len(data))
            if len(data) < 126
            else struct.pack("!BBH", 0x81, 0xFE, len(data))
        )
        self._socket.sendall(size + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))

    def _receive(self):
        whole, last = b"", False
        while not last:
            first, size = self._exactly(2)
            last = bool(first & 0x80)
            if size == 126:
                (size,) = struct.unpack("!H", self._exactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self._exactly(8))
            data = self._exactly(size)
            whole += data if first & 0x0F < 3 else b""  # no ping
            last = last and first & 0x0F < 3
        return whole

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise OSError("the browser has gone")
            data += more
        return data

    def run(self, script):
        """The value of an expression in the page; promises are awaited."""
        found = self("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description"))
        return found["result"].get("value")

    def open(self, url):
        """Opens a page and waits until it has asked what the model is."""
        self.problems.clear()
        self("Page.navigate", url="about:blank")
        self("Page.navigate", url=url)
        self.idle()

    def idle(self):
        """Waits until the page is done with what it was asked to do."""
        until(lambda: self.run("document.readyState === 'complete' && document.body.dataset.state === 'idle'"), 60)

    def fill(self, **fields):
        for name, value in fields.items():
            self.run(
                f"(() => {{ const e = document.getElementById({json.dumps(name)}); e.value = {json.dumps(str(value))};"
                " e.dispatchEvent(new Event('input')); })()"
            )

    def click(self, name):
        self.run(f"document.getElementById({json.dumps(name)}).click()")
        self.idle()

    def text(self, name):
        return self.run(f"document.getElementById({json.dumps(name)}).textContent")

    def mouse(self, points):
        """A stroke with the mouse, over places of the window."""
        for kind, (x, y) in [
            ("mousePressed", points[0]),
            *(("mouseMoved", p) for p in points),
            ("mouseReleased", points[-1]),
        ]:
            self("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def pixels(self, selector):
        """Red of every dot of the canvases that match, [N, height, width]; -1 where a dot is clear."""
        return np.array(
            self.run(
                f"[...document.querySelectorAll({json.dumps(selector)})].map((c) => {{"
                " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
                " return Array.from({length: c.height}, (_, y) => Array.from({length: c.width}, (_, x) => {"
                "  const i = 4 * (y * c.width + x); return d[i + 3] ? d[i] : -1; })); })"
            )
        )

    def screenshot(self, path):
        whole = self("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(whole["data"]))

    def close(self):
        if hasattr(self, "_socket"):
            self._socket.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError("the browser does not get there")
        time.sleep(0.02)
    return value


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs one of the browsers {', '.join(BROWSERS)}")
    folder = tempfile.mkdtemp()
    browser = Browser(program, folder)
    yield browser
    browser.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def page(browser, served):
    browser.open(f"{served.page}?model=pictures")
    yield browser
    assert not browser.problems


@pytest.fixture(scope="module")
def client(served):
    with Client(served.target, "pictures") as client:
        yield client


def shown(samples):
    """Brightness of values of 3 levels, as the page shows them."""
    return np.rint(samples[..., 0] / 2 * 255).astype(int)


def test_page_introduces_the_model(page):
    assert page.text("name") == "pictures"
    assert page.text("facts") == "MADE, events of 4 × 4 × 1, 3 levels; version 1"
    assert page.run("[...document.getElementById('label').options].map((o) => o.text)") == [
        "each in turn",
        "0",
        "1",
        "2",
    ]
    assert page.run("document.getElementById('error').hidden && !document.querySelector('main').hidden")


def test_every_field_has_a_name(page):
    nameless = "[...document.querySelectorAll('input, select')].filter((e) => !e.labels.length).map((e) => e.id)"
    assert page.run(nameless) == []
    assert (
        page.run("[...document.querySelectorAll('canvas')].filter((e) => !e.closest('button') && !e.ariaLabel).length")
        == 0
    )


def test_samples_are_those_of_the_seed(page, client):
    before = client.session_stats()["active"]
    page.fill(num=3, label=2, temperature=0.8, seed=7)
    page.click("start")
    expected = client.sample(3, 2, seed=7, temperature=0.8).samples
    np.testing.assert_array_equal(page.pixels("#samples canvas"), shown(expected))
    assert page.text("progress").startswith("drawn in") and page.run("document.getElementById('stop').disabled")
    assert client.session_stats()["active"] == before


def test_samples_come_row_by_row(page):
    """After every answer of the server one more row is there."""
    page.run(
        "window.rows = []; const drawn = (b) => b.picture.values.filter((v) => v !== null).length;"
        "new MutationObserver(() => rows.push([...document.querySelectorAll('#samples button')].map(drawn)"
        ")).observe(document.getElementById('progress'), {childList: true})"
    )
    page.fill(num=2, label=0)
    page.click("start")
    assert [counts for counts in page.run("rows") if counts][-5:-1] == [[4, 4], [8, 8], [12, 12], [16, 16]]


def test_stop_ends_the_session(page, client):
    before = client.session_stats()["active"]
    page.fill(num=2, label=0)
    page.run("document.getElementById('start').click(); document.getElementById('stop').click()")
    page.idle()
    assert page.text("progress") == "stopped" and client.session_stats()["active"] == before
    assert (page.pixels("#samples canvas") == -1).any()


def test_chosen_sample_is_scored(page, client):
    page.fill(num=1, label=1, seed=3)
    page.click("start")
    page.run("document.querySelector('#samples button').click()")
    page.idle()
    scores = client.log_prob(client.sample(1, 1, seed=3).samples, 1)
    assert page.text("scored") == f"{scores.bits_per_dim[0]:.3f} bits/dim, {scores.log_prob[0]:.2f} nats, as label 1"
    costs = -scores.score.ravel() / np.log(2)
    assert page.text("heat-low") == "0.00" and page.text("heat-high") == f"{costs.max():.2f}"
    brightness = page.pixels("#heat")[0].ravel()
    assert (np.diff(brightness[np.argsort(costs, kind="stable")]) >= 0).all() and brightness.max() == 255
    assert "bits" in page.text("heat-at") and "bright ones surprise the model" in page.text("heat-at")


def test_sample_is_scored_under_its_own_label(page, client):
    page.fill(num=3, label=-1, seed=4)
    page.click("start")
    assert page.run("[...document.querySelectorAll('#samples small')].map((e) => e.textContent)")[2] == "label 2"
    page.run("document.querySelectorAll('#samples button')[2].click()")
    page.idle()
    nats = client.log_prob(client.sample(3, [0, 1, 2], seed=4).samples[2:], 2).log_prob[0]
    assert page.text("scored").endswith(f"{nats:.2f} nats, as label 2")
    assert page.run("document.getElementById('as').value") == "2"


def test_drawn_half_image_is_completed(page, client):
    box = page.run(
        "(() => { const b = document.getElementById('paper').getBoundingClientRect(); return [b.x, b.y, b.width]; })()"
    )
    cell = box[2] / 4
    page.mouse([(box[0] + cell * (column + 0.5), box[1] + cell * 0.5) for column in range(3)])
    assert page.pixels("#paper")[0].tolist() == [[255, 255, 255, 0], *[[0] * 4] * 3]
    page.fill(label=0, seed=11, keep=2, **{"as": 1})  # the label of the samples above is another one
    page.click("complete")
    drawn = np.zeros([4, 4, 4, 1], int)
    drawn[:, 0, :3] = 2
    expected = client.complete(drawn, 8, 1, seed=11).samples
    np.testing.assert_array_equal(page.pixels("#completions canvas"), shown(expected))
    np.testing.assert_array_equal(page.pixels("#paper"), shown(expected[:1]))
    assert page.text("scored").endswith("as label 1")
    assert page.run("[...document.querySelectorAll('#completions small')].map((e) => e.textContent)") == ["label 1"] * 4


def test_keyboard_draws_too(page):
    page.run(
        "for (const key of ['ArrowDown', 'ArrowRight', ' ']) document.getElementById('paper')"
        ".dispatchEvent(new KeyboardEvent('keydown', {key}))"
    )
    assert page.pixels("#paper")[0].tolist() == [[0] * 4, [0, 255, 0, 0], [0] * 4, [0] * 4]
    page.click("clear")
    assert not page.pixels("#paper").any()


def test_errors_are_shown_to_people(browser, served, page):
    page.run("document.getElementById('temperature').min = -1")
    page.fill(temperature=-1, num=1)
    page.click("start")
    message = page.text("error")
    assert message.startswith("The server refuses this: temperature must ") and "[" not in message
    page.fill(temperature=1)
    page.click("start")
    assert page.run("document.getElementById('error').hidden")
    page.problems.clear()  # the browser's own note of status 400
    browser.open(f"{served.page}?model=nobody")
    assert "nobody" in page.text("error") and page.run("document.querySelector('main').hidden")
    page.problems.clear()


def test_server_that_does_not_answer_is_told(page):
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page("Network.emulateNetworkConditions", offline=True, **network)
    page.click("start")
    assert page.text("error") == "The server does not answer. Is it still running?"
    page("Network.emulateNetworkConditions", offline=False, **network)
    page.click("start")
    assert page.run("document.getElementById('error').hidden") and page.text("progress").startswith("drawn in")
    page.problems.clear()  # the browser's own note of the failure


def test_texts_are_written(browser, served):
    browser.open(f"{served.page}?model=texts")
    assert browser.run("document.getElementById('studio').hidden && document.getElementById('label-field').hidden")
    browser.fill(num=1, length=30, seed=5)
    browser.click("start")
    with Client(served.target, "texts") as client:
        expected = client.sample(1, seed=5, length=30).samples[0]
    text = browser.run("document.querySelector('#samples pre').textContent")
    assert text == "".join("abc "[value] for value in expected)
    browser.fill(prompt="ab", seed=6)
    browser.click("start")
    with Client(served.target, "texts") as client:
        expected = client.sample(1, seed=6, length=32, prefix=[0, 1]).samples[0]
    text = browser.run("document.querySelector('#samples pre').textContent")
    assert text == "".join("abc "[value] for value in expected)
    browser.fill(prompt="abx")
    browser.click("start")
    assert browser.text("error") == "The model does not know the character “x”."
    assert not browser.problems


def test_page_asks_nobody_else():
    for path in PAGE.iterdir():
        assert "//" not in path.read_text().replace("// ", "").replace("//\n", ""), f"{path.name} names an address"
