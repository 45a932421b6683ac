"""Keys of BiaPy: translation, ignored keys and unsupported values."""
