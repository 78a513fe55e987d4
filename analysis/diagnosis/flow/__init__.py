"""The diagnosis of a network: the steps of the white paper's flow, tried and measured."""
