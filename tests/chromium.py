"""A real headless Chromium, driven over the DevTools protocol. tests/api/test_console_browser.py -> [chromium].

Where none is on PATH it is installed, if that needs no password; else its tests are skipped, with the command that lets
them run (tests/skips.py).
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
APT = "apt-get install -y --no-install-recommends chromium"
MISSING = f"there is no Chromium ({', '.join(NAMES)}) on PATH{{why}}. To run them: sudo {APT}"
PATIENCE = 200
"""Seconds that installing it may take: less than a test's own limit, so that it is skipped and not cut off."""
FLAGS = (
    "--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-gpu", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--window-size=1440,1000",
)  # fmt: skip


class Page:
    """One page. events: what the browser told, in order; told while a command or `until` waits."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **params: Any) -> dict[str, Any]:
        """A DevTools command's result. Fails with the browser's own words."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(timeout=30))
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return dict(message["result"])
            self.events.append(message)

    def js(self, expression: str) -> Any:
        """An expression's value in the page."""
        answer = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = 15.0) -> Any:
        """Wait until an expression is true; its value, `True` for an element (which has none outside the page)."""
        asked = f"(() => {{ const value = {expression}; return value instanceof Node ? true : value; }})()"
        deadline = time.monotonic() + seconds
        while not (value := self.js(asked)):
            assert time.monotonic() < deadline, (
                f"never true in {seconds} s: {expression}; {self.js('document.body.innerText')}"
            )
            time.sleep(0.02)
        return value

    def open(self, url: str) -> None:
        """Load a page and wait until its scripts have run."""
        self.do("Page.navigate", url=url)
        self.until(f"location.href.startsWith({url!r}) && document.readyState === 'complete'")

    def type(self, selector: str, text: str) -> None:
        """Focus a field, once it is there, and write into it as a keyboard does."""
        self.until(f"document.querySelector({selector!r})")
        self.js(f"document.querySelector({selector!r}).focus()")
        self.do("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element, once it is there."""
        self.until(f"document.querySelector({selector!r})")
        x, y = self.js(
            f"(() => {{ const node = document.querySelector({selector!r}); node.scrollIntoView({{block: 'center'}});"
            " const box = node.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, code: int, *, ctrl: bool = False) -> None:
        """Press one key: its name and its Windows key code."""
        about = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 2 if ctrl else 0}
        text = {"text": "\r"} if key == "Enter" and not ctrl else {}
        self.do("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.do("Input.dispatchKeyEvent", type="keyUp", **about)

    def prefer(self, scheme: str) -> None:
        """Say that the system is `light` or `dark`."""
        self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path: Path) -> Path:
        """The window as a PNG file."""
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"]))
        return path

    @property
    def complaints(self) -> list[str]:
        """What the browser's console shows as an error or warning, exceptions and refused loads included."""
        found = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning", "assert"}:
                found.append(str(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
                found.append(params["entry"]["text"])
        return found

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Every request that the page made, as DevTools tells it: url, method, headers, postData."""
        return [event["params"]["request"] for event in self.events if event["method"] == "Network.requestWillBeSent"]


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A page of a browser of its own. Skips the test where there is none and none can be installed."""
    binary = _binary()
    root = ("--no-sandbox",) if os.geteuid() == 0 else ()
    command = [binary, *FLAGS, *root, f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _port(process, profile / "DevToolsActivePort")
        with connect(_page(port), max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(20)


def _binary() -> str:
    """The browser's path."""
    if found := _found():
        return found
    why = _install()
    return _found() or pytest.skip(MISSING.format(why=why))


def _found() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@functools.cache
def _install() -> str:
    """Have apt install it, once, as root or by a sudo that asks nothing; why it may not be there (`, and ...`)."""
    become = () if os.geteuid() == 0 else ("sudo", "-n")
    if not all(map(shutil.which, ("apt-get", *become[:1]))):
        return ", and it cannot be installed from here"
    for command in ("apt-get update", APT):
        try:
            done = subprocess.run(
                [*become, *command.split()], env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, timeout=PATIENCE,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f", and `{command}` did not end in {PATIENCE} s"
        if done.returncode:
            return f", and `{command}` failed: {(done.stderr.strip().splitlines() or ['it does not say why'])[-1]}"
    return ", though apt says that it was installed"


def _port(process: subprocess.Popen[bytes], file: Path) -> int:
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().strip()):
        assert process.poll() is None, f"Chromium ended with {process.returncode} before it could be driven."
        assert time.monotonic() < deadline, "Chromium opened no DevTools port in 60 s."
        time.sleep(0.05)
    return int(file.read_text().split()[0])


def _page(port: int) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for target in httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False).json():
            if target["type"] == "page":
                return str(target["webSocketDebuggerUrl"])
        time.sleep(0.05)
    raise AssertionError("Chromium opened no page in 20 s.")
