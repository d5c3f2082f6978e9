"""How fast the gateways are, how much a converged run costs, and that a reload drops nothing (see README.md)."""
