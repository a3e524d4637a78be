"""The whole way from training to a swap in one run, and its report page."""
