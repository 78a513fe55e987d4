"""The methods of training beside learned steps: blended weights, and a width for each neuron."""
