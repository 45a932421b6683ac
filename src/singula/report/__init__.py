"""Reports and pictures of finished runs."""
