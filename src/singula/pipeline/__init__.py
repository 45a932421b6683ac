"""The stages of a run, each of which joins rooms; `workflow.py` puts them in order."""
