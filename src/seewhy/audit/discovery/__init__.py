"""Where the evidence lies, what looks the same, and the candidates made of it."""
