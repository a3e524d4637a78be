"""The whole story in one run, and the page that tells it."""
