"""How models are trained: loops, batches, devices, machines, weights, and what is saved."""
