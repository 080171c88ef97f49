"""What each section of the page shows, as values: the templates only lay them out."""
