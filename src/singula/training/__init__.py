"""Train a network and keep what it learned."""
