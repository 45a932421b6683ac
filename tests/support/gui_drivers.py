"""Use of the interface with the mouse, with the keyboard only, or with a finger at 390 px."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from gui_browser import TIMEOUT

HERE = Path(__file__).parent
MAX_TABS = 250
_MAX_SETTLE = 100  # tenths of a second, until a transition or a message has ended
# Factor from pixels of the image to the window, and the window position of the corner of the image
_VIEW = """() => {
  const viewer = getElement(+document.querySelector('.viewer-host').id.slice(1));
  const canvas = viewer.$refs.canvas;
  const place = canvas.getBoundingClientRect();
  const ratio = canvas.width / canvas.clientWidth;
  const { scale, x, y } = viewer.view;
  return [scale / ratio, place.x + x / ratio, place.y + y / ratio];
}"""
_FOCUS = (HERE / "gui_focus.js").read_text()
_LAYOUT = (HERE / "gui_layout.js").read_text()


def place(tab: Any, y: float, x: float) -> tuple[float, float]:
    """Return the position in the window of the center of a pixel."""
    scale, left, top = tab.evaluate(_VIEW)
    return left + (x + 0.5) * scale, top + (y + 0.5) * scale


class Mouse:
    """Use of the interface with the mouse."""

    options: ClassVar[dict[str, Any]] = {"viewport": {"width": 1400, "height": 950}}
    can_draw: ClassVar[bool] = True

    def __init__(self, tab: Any) -> None:
        self.tab = tab

    def find(self, name: str, role: str = "button") -> Any:
        return self.tab.get_by_role(role, name=name, exact=True).first

    def press(self, name: str, role: str = "button") -> None:
        """Activate a button or a link."""
        self.find(name, role).click()

    def fill(self, label: str, text: str) -> None:
        field = self.tab.get_by_role("textbox", name=label, exact=True)
        field = field.or_(self.tab.get_by_role("spinbutton", name=label, exact=True))
        field.fill(text)
        field.blur()

    def choose(self, label: str, option: str) -> None:
        """Choose an option of a list by the beginning of its text."""
        self.open_list(label, option).click()
        self.wait_for_closed_list()

    def open_list(self, label: str, option: str) -> Any:
        """Open a list, and return an option; the list closes if the page scrolls meanwhile."""
        item = self.tab.locator(".q-menu .q-item, .q-dialog .q-item", has_text=option).first
        until = time.monotonic() + TIMEOUT / 1000
        while time.monotonic() < until:
            self.press(label, "combobox")
            for _ in range(_MAX_SETTLE):
                if item.is_visible():
                    return item
                self.tab.wait_for_timeout(100)
        raise AssertionError(f"{label}: {option} is not in the list")

    def wait_for_closed_list(self) -> None:
        """Wait until a list of options has disappeared."""
        hidden = "!document.querySelector('.q-menu, .q-dialog')"
        self.tab.wait_for_function(hidden)

    def unfold(self, title: str) -> None:
        """Open a section that is folded."""
        self.tab.locator(".q-expansion-item .q-item", has_text=title).first.click()

    def view_whole(self) -> None:
        """Show the whole image in the viewer."""
        self.press("Show the whole image")
        self.tab.locator(".viewer-host").first.scroll_into_view_if_needed()

    def pick(self, y: float, x: float) -> None:
        """Click a pixel of the image."""
        self.tab.mouse.click(*place(self.tab, y, x))

    def outline(self, corners: Sequence[tuple[float, float]]) -> None:
        """Draw around a region."""
        self.tab.mouse.move(*place(self.tab, *corners[0]))
        self.tab.mouse.down()
        for corner in corners[1:]:
            self.tab.mouse.move(*place(self.tab, *corner), steps=4)
        self.tab.mouse.up()

    def check_page(self) -> None:
        """Check a page after each step."""


class Keyboard(Mouse):
    """Use of the interface with the keyboard only."""

    can_draw = False

    def reach(self, is_reached: Callable[[], bool]) -> None:
        """Press Tab until an element has the focus, which must be visible at each step."""
        for _ in range(MAX_TABS):
            if is_reached():
                return
            self.tab.keyboard.press("Tab")
            self.check_focus()
        raise AssertionError("not reached with Tab")

    def check_focus(self) -> None:
        """Check that the focus is visible, at least after transitions and messages."""
        for _ in range(_MAX_SETTLE):
            fault = self.tab.evaluate(_FOCUS)
            if not fault:
                return
            self.tab.wait_for_timeout(100)
        raise AssertionError(fault)

    def go_to(self, target: Any) -> None:
        target.first.wait_for()
        script = "all => all.some(e => e === document.activeElement)"
        self.reach(lambda: bool(target.evaluate_all(script)))

    def press(self, name: str, role: str = "button") -> None:
        target = self.tab.get_by_role(role, name=name, exact=True)
        self.tab.wait_for_timeout(200)  # buttons of the previous state disappear
        self.go_to(target)
        self.tab.keyboard.press("Enter")

    def fill(self, label: str, text: str) -> None:
        field = self.tab.get_by_role("textbox", name=label, exact=True)
        self.go_to(field.or_(self.tab.get_by_role("spinbutton", name=label, exact=True)))
        self.tab.keyboard.press("Control+a")
        self.tab.keyboard.type(text)

    def choose(self, label: str, option: str) -> None:
        self.go_to(self.tab.get_by_role("combobox", name=label, exact=True))
        self.tab.keyboard.press("ArrowDown")
        self.tab.locator(".q-menu .q-item").first.wait_for()
        active = self.tab.locator(".q-menu .q-manual-focusable--focused", has_text=option)
        for _ in range(100):
            if active.count():
                break
            self.tab.keyboard.press("ArrowDown")
            self.tab.wait_for_timeout(30)
        else:
            raise AssertionError(f"{label}: {option} is not reached")
        self.tab.keyboard.press("Enter")
        self.wait_for_closed_list()

    def unfold(self, title: str) -> None:
        head = self.tab.locator(".q-expansion-item .q-item[tabindex='0']", has_text=title)
        self.go_to(head)
        self.tab.keyboard.press("Enter")
        self.tab.locator(".q-expansion-item--expanded", has_text=title).first.wait_for()

    def view_whole(self) -> None:
        self.focus_image()
        self.tab.keyboard.press("0")

    def focus_image(self) -> None:
        self.go_to(self.tab.locator(".viewer-host canvas[tabindex='0']"))

    def pick(self, y: float, x: float) -> None:
        """Move a pixel to the center of the view with the arrow keys, and press Enter."""
        self.focus_image()
        keys = self.tab.keyboard
        while self._step() > 3:
            keys.press("+")
            self.tab.wait_for_timeout(50)
        for _ in range(200):
            box = self.tab.locator(".viewer-host canvas").first.bounding_box()
            left, top = place(self.tab, y, x)
            dx, dy = left - box["x"] - box["width"] / 2, top - box["y"] - box["height"] / 2
            step = min(box["width"], box["height"]) / 8
            if abs(dx) > step / 2 + 1:
                keys.press("ArrowRight" if dx > 0 else "ArrowLeft")
            elif abs(dy) > step / 2 + 1:
                keys.press("ArrowDown" if dy > 0 else "ArrowUp")
            else:
                keys.press("Enter")
                return
            self.tab.wait_for_timeout(20)
        raise AssertionError("the pixel does not move to the center")

    def _step(self) -> float:
        """Return the movement of an arrow key, in pixels of the image."""
        box = self.tab.locator(".viewer-host canvas").first.bounding_box()
        return float(min(box["width"], box["height"]) / 8 / self.tab.evaluate(_VIEW)[0])

    def outline(self, corners: Sequence[tuple[float, float]]) -> None:
        raise NotImplementedError("outlines are not drawn with the keyboard")

    def check_page(self) -> None:
        """Press Tab through the whole page: it must not be a trap."""
        self.tab.evaluate("document.activeElement.blur(); window.seen = new Set()")
        again = """() => {
          const e = document.activeElement;
          const ended = e === document.body || window.seen.has(e);
          window.seen.add(e);
          if (!ended) return "next";
          return e === document.body || e.matches(".skip") ? "end" : "trap: " + e.outerHTML;
        }"""
        for _ in range(MAX_TABS):
            self.tab.keyboard.press("Tab")
            self.check_focus()
            answer = self.tab.evaluate(again)
            if answer != "next":
                break
        assert answer == "end", answer


class Touch(Mouse):
    """Use of the interface with a finger, in a window of 390 px."""

    options: ClassVar[dict[str, Any]] = {
        "viewport": {"width": 390, "height": 844},
        "has_touch": True, "is_mobile": True, "device_scale_factor": 2,
    }  # fmt: skip

    def press(self, name: str, role: str = "button") -> None:
        self.find(name, role).tap()

    def choose(self, label: str, option: str) -> None:
        self.open_list(label, option).tap()
        self.wait_for_closed_list()

    def unfold(self, title: str) -> None:
        self.tab.locator(".q-expansion-item .q-item", has_text=title).first.tap()

    def pick(self, y: float, x: float) -> None:
        self.tab.touchscreen.tap(*place(self.tab, y, x))

    def outline(self, corners: Sequence[tuple[float, float]]) -> None:
        session = self.tab.context.new_cdp_session(self.tab)

        def send(kind: str, *points: tuple[float, float]) -> None:
            touches = [{"x": x, "y": y} for x, y in points]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

        spots = [place(self.tab, *corner) for corner in corners]
        send("touchStart", spots[0])
        for before, spot in pairwise(spots):
            for part in (0.25, 0.5, 0.75, 1.0):
                send("touchMove", (before[0] + part * (spot[0] - before[0]),
                                   before[1] + part * (spot[1] - before[1])))  # fmt: skip
        send("touchEnd")

    def check_page(self) -> None:
        """Check that nothing is cut off, that targets have 24 px, and that none overlap."""
        for _ in range(_MAX_SETTLE):  # parts of the page may still open or close
            faults = self.tab.evaluate(_LAYOUT, [390, 24])
            if not faults:
                return
            self.tab.wait_for_timeout(100)
        assert faults == [], "\n".join([self.tab.url, *faults])
