"""One module a framework, which imports it: importing the module is the opt-in."""
