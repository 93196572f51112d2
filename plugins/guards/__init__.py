"""Guards: callbacks that end, cut or report a run that goes wrong."""
