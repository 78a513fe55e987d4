"""Where an encoding does not fit the values of a tensor."""
