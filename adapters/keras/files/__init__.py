"""Write and load the files of Keras."""
