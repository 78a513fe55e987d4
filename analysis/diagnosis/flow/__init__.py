"""The diagnosis of a network: each step of the white paper's flow is tried and measured."""
