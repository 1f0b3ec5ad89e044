"""What the stages hand to each other and what is stored: one file a subject."""
