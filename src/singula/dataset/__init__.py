"""A user's data set: its facts and its checks."""
