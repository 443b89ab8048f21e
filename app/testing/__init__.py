"""Fakes of every port, shipped for tests, demos and benchmarks."""
