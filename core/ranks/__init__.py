"""One decision of many processes: what they agree on, where they meet, and how they leave together."""
