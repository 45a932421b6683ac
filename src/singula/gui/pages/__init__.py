"""Pages: what stands in the modules beside this folder, shown."""
