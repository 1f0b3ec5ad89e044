"""Wrong reasons: found in what a class's images share, proven on the classifier itself."""
