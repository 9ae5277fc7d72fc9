"""Firefox over WebDriver BiDi (https://w3c.github.io/webdriver-bidi/), as far as the tests need it.

Playwright drives a Firefox of its own only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

SECONDS = 120


class Firefox:
    """A headless Firefox with a fresh profile and one page; `close` ends it.

    Attributes:
        uncaught: the messages of errors that no script caught.
    """

    def __init__(self) -> None:
        self.uncaught: list[str] = []
        self._last_id = 0
        self._connection = contextlib.ExitStack()
        self._profile = tempfile.mkdtemp(prefix="firefox-")
        command = [find_firefox(), "--headless", "--no-remote", "--remote-debugging-port=0"]
        self._process = subprocess.Popen(
            [*command, "--profile", self._profile], stderr=subprocess.DEVNULL
        )
        try:
            self._socket = self._connect()
            self._command("session.new", capabilities={})
            self._command("session.subscribe", events=["log.entryAdded"])
            tree = self._command("browsingContext.getTree")
            self._page = tree["contexts"][0]["context"]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def goto(self, url: str) -> None:
        """Opens an address, and returns once it is loaded."""
        self._command("browsingContext.navigate", context=self._page, url=url, wait="complete")

    def evaluate(self, function: str, argument: object = None) -> Any:
        """What a JavaScript function returns, or its promise; both ways as JSON.

        Raises:
            RuntimeError: it threw.
        """
        declaration = f"""async (json) => {{
            const result = await ({function})(JSON.parse(json));
            return JSON.stringify(result ?? null);
        }}"""
        answer = self._command(
            "script.callFunction",
            functionDeclaration=declaration,
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            target={"context": self._page},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def wait_for(self, condition: str) -> None:
        """Returns once a JavaScript expression is true."""
        deadline = time.monotonic() + SECONDS
        while not self.evaluate(f"() => Boolean({condition})"):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.05)

    def press(self, text: str) -> None:
        """Presses keys, one for each character, in the element that has the focus."""
        actions = [
            {"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")
        ]  # fmt: skip
        keyboard = {"type": "key", "id": "keyboard", "actions": actions}
        self._command("input.performActions", context=self._page, actions=[keyboard])

    def _connect(self) -> ClientConnection:
        # written once Firefox listens
        address = Path(self._profile) / "WebDriverBiDiServer.json"
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError):
                port = json.loads(address.read_text())["ws_port"]
                socket = connect(f"ws://127.0.0.1:{port}/session", max_size=None)
                return self._connection.enter_context(socket)
            time.sleep(0.05)
        raise RuntimeError("Firefox does not listen for WebDriver BiDi")

    def _command(self, method: str, **parameters: object) -> dict[str, Any]:
        self._last_id += 1
        self._socket.send(
            json.dumps({"id": self._last_id, "method": method, "params": parameters})
        )  # fmt: skip
        while True:
            message = json.loads(self._socket.recv(timeout=SECONDS))
            if message.get("id") == self._last_id:
                break
            self._take_event(message)
        if message["type"] == "error":
            raise RuntimeError(f"{method}: {message['message']}")
        result: dict[str, Any] = message["result"]
        return result

    def _take_event(self, message: dict[str, Any]) -> None:
        entry = message["params"]
        if entry["level"] == "error" and entry["type"] == "javascript":
            self.uncaught.append(entry["text"])


def find_firefox() -> str:
    """The path in $FIREFOX, else the system's Firefox.

    Raises:
        SystemExit: there is none.
    """
    for name in (os.environ.get("FIREFOX", ""), "firefox-esr", "firefox"):
        if path := shutil.which(name):
            return path
    raise SystemExit("no Firefox found; install it, or name its program in $FIREFOX")
