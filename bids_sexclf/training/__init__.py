"""Training of models: loop, batches, devices, machines, weights, and saved files."""
