"""Marks of the viewer in this process."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("nicegui", reason="no test of pages: `pip install 'singula[gui]'` is missing")

from nicegui import ui
from simulated import simulated_user

from singula.gui.pages.viewer import Viewer
from singula.gui.pictures import Scene, Scenes


def test_the_mark_is_at_the_object_of_the_shown_image() -> None:
    viewers: list[Viewer] = []

    async def story() -> None:
        async with simulated_user() as user:

            @ui.page("/")
            def page() -> None:
                viewers.append(Viewer(Scenes()))

            client = await user.open("/")
            (viewer,) = viewers
            with client:
                for top, left in ((0, 0), (9, 4)):  # the images have the same version
                    labels = np.zeros((20, 20), int)
                    labels[top : top + 3, left : left + 5] = 1
                    scene = Scene(None, {"instances": labels})
                    viewer.show(scene, "image")
                    viewer.select(1)
                    assert viewer.canvas.props["box"] == [top, left, top + 3, left + 5]
                scene.replace_instances(np.roll(labels, 2, axis=0))
                viewer.refresh()
                viewer.select(1)
                assert viewer.canvas.props["box"] == [11, 4, 14, 9]

    asyncio.run(story())
