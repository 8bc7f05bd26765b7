"""node_core: neural ordinary differential equations on a CPU, with nothing but NumPy to install."""
