"""The search for the stops of all policies of a grid."""
