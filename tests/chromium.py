"""A page in a headless Chromium, over the protocol of its developer tools."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websocket

_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"]
_FLAGS += ["--disable-background-networking", "--remote-debugging-port=0"]


def find_browser() -> str:
    """Where a browser is; skips the test where there is none."""
    found = subprocess.run(["scripts/browser"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(found.stderr.strip())
    return found.stdout.strip()


class Chromium:
    """One browser with one page. What goes wrong inside the page is kept in `problems`."""

    def __init__(self, binary: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [binary, *_FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._numbers, self.problems = itertools.count(1), []
        told = folder / "DevToolsActivePort"
        self.wait(lambda: told.exists() and "\n" in told.read_text(), "Chromium starts")
        port = told.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            pages = [each for each in json.load(answer) if each["type"] == "page"]
        self._socket = websocket.create_connection(
            pages[0]["webSocketDebuggerUrl"], timeout=60, suppress_origin=True
        )
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        self.call("Browser.close")
        self._socket.close()
        self._process.wait(30)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (heard := json.loads(self._socket.recv())).get("id") != number:
            self._note(heard)
        assert "error" not in heard, heard
        return heard["result"]

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """What an expression comes to; a promise is waited for."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """What an expression comes to, once that is true."""
        try:
            return self.wait(lambda: self.run(script), script)
        except AssertionError as error:
            error.add_note(f"the page reads: {self.run('document.body.innerText')}")
            raise

    @staticmethod
    def wait(condition: Callable[[], Any], what: str, seconds: float = 30) -> Any:
        """What a function returns, once that is true."""
        give_up_at = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < give_up_at, f"never: {what}"
            time.sleep(0.02)
        return value

    def press(self, key: str) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Enter": 13, "Tab": 9}[key]
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text
            )

    def resize(self, width: int, height: int, scale: float = 1) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 500,
        )

    def shoot(self, path: Path, scheme: str = "light") -> None:
        """Take a picture of the whole page."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        answer = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _note(self, heard: dict[str, Any]) -> None:
        if heard["method"] == "Runtime.exceptionThrown":
            self.problems.append(heard["params"]["exceptionDetails"])
        elif heard["method"] == "Log.entryAdded":
            entry = heard["params"]["entry"]
            if entry["source"] == "security":
                self.problems.append(entry)
