"""A comparison as people read it: terminal, Markdown, HTML, CSV."""
