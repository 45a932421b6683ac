"""Pages of the interface, built with NiceGUI."""
