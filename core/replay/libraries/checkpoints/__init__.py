"""The files that the checkpoint callbacks of other libraries would have written."""
