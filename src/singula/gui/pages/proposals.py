"""Input with a proposed text, which the user may replace."""

from __future__ import annotations

import json
from typing import Any

from nicegui import ui

# The browser has the last edits, which may still be on their way to the server. The text is
# marked in a field with the focus, so that typing replaces it.
_PROPOSE = """{
  const input = getElement(%(id)d);
  if (input && ["", %(before)s].includes(input.inputValue ?? "")) {
    mounted_app.elements[%(id)d].props.value = %(text)s;
    input.$nextTick(() => {
      const field = document.activeElement;
      if (input.$el.contains(field)) field.select?.();
    });
  }
}"""


class ProposedInput(ui.input):
    """Input whose initial text is a proposal.

    Parameters
    ----------
    *args, **options : object
        Arguments of `nicegui.ui.input`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.proposal = self.value or ""

    @property
    def is_edited(self) -> bool:
        """Return True if the user has entered another text than the proposal."""
        return (self.value or "") not in ("", self.proposal)

    def propose(self, text: str) -> None:
        """Replace the last proposal, unless the user has edited it.

        Parameters
        ----------
        text : str
            The new proposal.
        """
        if self.is_edited:
            return
        before, self.proposal = self.proposal, text
        self._send_update_on_value_change = False
        self.set_value(text)
        self._send_update_on_value_change = True
        self._client_value = text  # other changes of this input do not send the text
        values = {"id": self.id, "before": json.dumps(before), "text": json.dumps(text)}
        self.client.run_javascript(_PROPOSE % values)
