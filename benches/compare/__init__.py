"""Measures Vitrine against its peers and against the machine's limits. See docs/benchmarks.md."""
