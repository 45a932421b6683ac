"""Plugin for napari: readers, sample data and widgets. Only this package imports napari and Qt.

`layers`, `samples`, `segmentation`, `training` and `review` do the work and need neither of them;
the modules whose names end in ``_widget`` only display it.
"""
