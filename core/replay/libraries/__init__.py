"""The rules and options of other libraries."""
