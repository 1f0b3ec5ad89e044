"""Where the evidence is, what looks the same, and the candidates made of both."""
