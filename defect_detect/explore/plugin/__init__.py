"""The plugin that puts the Missed defects panel and its operators into the FiftyOne App."""
