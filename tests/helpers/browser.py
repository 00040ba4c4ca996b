"""A headless Chromium that is driven by its own protocol, over the two pipes that it offers."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import io
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--no-first-run",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)
_SECONDS = 60.0


class Page:
    """One page of the browser: what it asked for, what it wrote to its console, and its pixels."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers, self._unread = requests, answers, b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.messages: list[str] = []
        """Lines of the console, and errors that nothing caught."""
        self.addresses: list[str] = []
        """Addresses that were asked for."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def size(self, width: int, height: int, dark: bool = False, touch: bool = False) -> None:
        """Set the size of the page in pixels, and whether it is dark and touched."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=touch,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address: str) -> None:
        """Open an address, and wait until the page says that it is ready and its map is drawn."""
        self._ask("Page.navigate", url="about:blank")
        self.messages.clear()
        self.addresses.clear()
        self._ask("Page.navigate", url=address)
        self.wait("document.documentElement?.dataset.ready === 'true'")
        self.settle()

    def show(self, address: str) -> None:
        """Open an address of a page that is ready when it is loaded."""
        self._ask("Page.navigate", url="about:blank")
        self.messages.clear()
        self.addresses.clear()
        self._ask("Page.navigate", url=address)
        self.wait("location.href !== 'about:blank' && document.readyState === 'complete'")

    def settle(self) -> None:
        """Wait until what was asked for is drawn, and nothing is loaded any more."""
        frame = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.run(frame)
        self.wait("document.documentElement.dataset.drawn === 'true'")

    def run(self, script: str) -> Any:
        """Return the value of an expression, of a promise when it is kept."""
        answer = self._ask(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _SECONDS
        while not self.run(script):
            if time.monotonic() > end:
                raise AssertionError(f"{script} is not true after {_SECONDS} s: {self.messages}")
            time.sleep(0.05)

    def click(self, x: float, y: float) -> None:
        """Click at a place of the page."""
        place: dict[str, Any] = {"x": x, "y": y, "button": "left", "clickCount": 1}
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, **place)

    def press(self, key: str) -> None:
        """Press a key such as ArrowDown, Enter, Tab."""
        codes = {"ArrowDown": 40, "ArrowUp": 38, "Enter": 13, "Tab": 9, "Escape": 27}
        event: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self._ask("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self._ask("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text: str) -> None:
        """Write into the field that has the focus."""
        self._ask("Input.insertText", text=text)

    def picture(self) -> np.ndarray:
        """Return what the page looks like, (H, W, 3) uint8."""
        png = base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def print_pdf(self) -> bytes:
        """Return the page as it is printed, on paper of the size that it asks for."""
        printed = self._ask("Page.printToPDF", preferCSSPageSize=True)
        return base64.b64decode(printed["data"])

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self._hear(answer.get("method"), answer.get("params", {}))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            part = os.read(self._answers, 1 << 20)
            assert part, "Chromium has ended"
            self._unread += part
        text, _, self._unread = self._unread.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message

    def _hear(self, method: str | None, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.addresses.append(event["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.messages.append(" ".join(str(a.get("value")) for a in event["args"]))
        elif method == "Runtime.exceptionThrown":
            self.messages.append(json.dumps(event["exceptionDetails"]))
        elif method == "Log.entryAdded" and "GL Driver Message" not in event["entry"]["text"]:
            # Drivers in software say that to take a picture of the page is slow.
            self.messages.append(f"{event['entry']['text']} {event['entry'].get('url', '')}")


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Start Chromium with a profile of its own below a folder, and end it."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    assert program, f"these tests need a browser: install Chromium (one of {', '.join(_NAMES)})"
    requests_read, requests = os.pipe()
    answers, answers_write = os.pipe()
    # The browser reads at 3 and writes at 4, which none of the pipes may have been given.
    theirs = [fcntl.fcntl(number, fcntl.F_DUPFD, 20) for number in (requests_read, answers_write)]
    command = f'exec "$0" "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
    process = subprocess.Popen(
        ["bash", "-c", command, program, *_OPTIONS, f"--user-data-dir={folder}"],
        pass_fds=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for number in (requests_read, answers_write, *theirs):
        os.close(number)
    try:
        yield Page(requests, answers)
    finally:
        os.close(requests)
        os.close(answers)
        process.terminate()
        process.wait(30)
