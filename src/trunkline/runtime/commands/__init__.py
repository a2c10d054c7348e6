"""One module per command; each has a function ``command`` whose parameters are the command's options."""
