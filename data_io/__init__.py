"""How data comes in: labelled image folders, .npz files, the bundled samples; preprocessing."""
