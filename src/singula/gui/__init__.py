"""The graphical interface, `singula gui`: the only room that imports a web framework.

Logic stands in plain modules that are tested without a browser; ``pages`` only shows it. What the
interface does is written to files that the command line reads: a YAML file, a run's folder.
"""
