"""What a sample, a context, a loss and a metric are. A new task is one module here and one in `data/`."""
